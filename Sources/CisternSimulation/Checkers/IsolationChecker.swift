internal import Cistern

/// Isolation: a server spends for a key only tokens from the key's bucket, and a grant changes only one bucket.
struct IsolationChecker {
    static let name = "isolation"

    /// Tokens that each server may spend for each key, by server and key.
    ///
    /// The key's bucket granted them, and they were neither returned nor expired at its last answer.
    private var credit: [[Int]]
    /// The bucket of each key after its last grant.
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
            // A bucket without requests for over a minute may have expired and started full again.
            guard let left = buckets[granted.key], left != granted.before,
                granted.storeAt.storeMilliseconds - left.asOfMilliseconds < 60_000
            else { return nil }
            return "org-\(granted.key)'s bucket has changed since its last grant"
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
                return "server \(decided.server) spent tokens of org-\(decided.key) that its bucket never granted"
            }
        default: break
        }
        return nil
    }
}

extension [Int: Granted] {
    /// Drops old grants whose answers can no longer arrive.
    mutating func removeStale(before order: Int) {
        guard count > 20_000 else { return }
        self = filter { $0.key > order - 10_000 }
    }
}
