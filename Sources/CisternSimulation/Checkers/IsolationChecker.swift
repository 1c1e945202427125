internal import Cistern

/// Isolation: what a server spends for an organization, that organization's bucket has granted it; and a step of one
/// bucket changes no other.
struct IsolationChecker {
    static let name = "isolation"

    /// Tokens that a server may spend, by server and organization: granted by that organization's bucket and, as far as
    /// its last answer tells, neither returned nor lapsed.
    private var credit: [[Int]]
    /// Every organization's bucket as its last step left it.
    private var buckets: [StoreBucket?]
    private var grants: [Int: Granted] = [:]

    init(_ settings: WorldSettings) {
        credit = Array(repeating: Array(repeating: 0, count: settings.keys), count: settings.servers)
        buckets = Array(repeating: nil, count: settings.keys)
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        switch observation {
        case .granted(let granted):
            grants[granted.order] = granted
            grants.removeStale(before: granted.order)
            defer { buckets[granted.key] = granted.bucket }
            // One that nobody touched for longer than a minute may have expired meanwhile, and begun anew.
            guard let left = buckets[granted.key], left != granted.before,
                granted.storeAt.storeMilliseconds - left.asOfMilliseconds < 60_000
            else { return nil }
            return "org-\(granted.key)'s bucket is not as its last step left it"
        case .answered(let server, let key, let order):
            guard let granted = grants.removeValue(forKey: order) else { return nil }
            let kept = min(credit[server][key] - granted.request.returned, granted.grant.held)
            credit[server][key] = max(0, kept) + granted.grant.tokens + granted.grant.trickleTokens
        case .lost(let key, _), .stepped(let key, _, _): buckets[key] = nil
        case .crashed(let server):
            for key in credit[server].indices { credit[server][key] = 0 }
        case .decided(let decided) where decided.decision.outcome == .allowed:
            credit[decided.server][decided.key] -= decided.cost
            if credit[decided.server][decided.key] < 0 {
                return "server \(decided.server) spent for org-\(decided.key) what its bucket never granted"
            }
        default: break
        }
        return nil
    }
}

extension [Int: Granted] {
    /// Forgets grants that were never answered, long after they can be.
    mutating func removeStale(before order: Int) {
        guard count > 20_000 else { return }
        self = filter { $0.key > order - 10_000 }
    }
}
