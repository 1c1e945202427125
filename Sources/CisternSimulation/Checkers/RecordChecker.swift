internal import Cistern

/// Every token that a server holds is on record at the store, and has not lapsed there.
///
/// That is what keeps T + H ≤ C, where H is what servers really hold. It cannot hold where the node has lost its data
/// or its clock has stepped, until the leases of before have lapsed.
struct RecordChecker {
    static let name = "record"

    private let lease: Time
    /// Until when servers may hold what nobody has on record any more.
    private var lostUntil: [Time]

    init(_ settings: WorldSettings) {
        lease = .milliseconds(settings.limiter.lease.durationMilliseconds)
        lostUntil = Array(repeating: -1, count: settings.keys)
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        switch observation {
        case .lost(let key, _), .stepped(let key, _, _): lostUntil[key] = now + lease
        case .held(let server, let key, let leased, let recorded):
            if leased > recorded, now > lostUntil[key] {
                return "server \(server) holds \(leased) tokens of org-\(key); on record are \(recorded)"
            }
        default: break
        }
        return nil
    }
}
