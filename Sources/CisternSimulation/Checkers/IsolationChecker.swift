internal import Cistern

/// Isolation: what a server spends for an organisation, that organisation's bucket has granted it; and a step of one
/// bucket changes no other.
struct IsolationChecker {
    static let name = "isolation"

    /// Tokens that were granted to a server and may be spent there, by server and organisation.
    private var granted: [[Int]]
    /// Every organisation's bucket as it was left.
    private var buckets: [StoreBucket?]
    private var grants: [Int: Int] = [:]

    init(_ settings: WorldSettings) {
        granted = Array(
            repeating: Array(repeating: 0, count: settings.organizations), count: settings.servers)
        buckets = Array(repeating: nil, count: settings.organizations)
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        switch observation {
        case .granted(let grant):
            let organization = grant.organization
            grants[grant.order] = grant.grant.tokens + grant.grant.paced
            defer { buckets[organization] = grant.bucket }
            guard let before = buckets[organization] else { return nil }
            // Records come and go with requests for this organisation alone.
            let known = Set(before.records.map(\.lessee) + [grant.request.lessee])
            let strangers = grant.bucket.records.filter { !known.contains($0.lessee) }
            guard !strangers.isEmpty else { return nil }
            return "org-\(organization)'s bucket has a lease of \(strangers[0].lessee), which never asked for it"
        case .answered(let server, let organization, let order):
            granted[server][organization] += grants.removeValue(forKey: order) ?? 0
        case .lost(let organization, _): buckets[organization] = nil
        case .crashed(let server):
            for organization in granted[server].indices { granted[server][organization] = 0 }
        case .decided(let decided) where decided.decision.outcome == .allowed:
            granted[decided.server][decided.organization] -= decided.cost
            if granted[decided.server][decided.organization] < 0 {
                return "server \(decided.server) spent for org-\(decided.organization) what its bucket never granted"
            }
        default: break
        }
        return nil
    }
}
