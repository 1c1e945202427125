internal import Cistern

/// Every token that a server holds is in an unexpired record at the store.
///
/// This implies T + H ≤ C: balance T, capacity C, and the number H of tokens that servers really hold. After a node
/// loses its data or its clock steps, the check pauses until the earlier leases have expired.
struct RecordChecker {
    static let name = "record"

    private let lease: Time
    /// Until this time, servers may hold tokens that are no longer on record; by key.
    private var lostUntil: [Time]

    init(_ settings: WorldSettings) {
        lease = .milliseconds(settings.lease.durationMilliseconds)
        lostUntil = Array(repeating: -1, count: settings.keys)
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        switch observation {
        case .lost(let key, _), .stepped(let key, _, _): lostUntil[key] = now + lease
        case .held(let server, let key, let leased, let recorded):
            if leased > recorded, now > lostUntil[key] {
                return "server \(server) holds \(leased) tokens of org-\(key), but \(recorded) are on record"
            }
        default: break
        }
        return nil
    }
}
