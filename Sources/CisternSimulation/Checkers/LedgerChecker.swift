internal import Cistern

/// The invariants of the store's records after each grant: T + O ≤ C, O ≤ C, and trickle rates of at most R in all.
///
/// T is the balance, O the outstanding tokens, C the capacity and R the refill rate. From one grant to the next, T + O
/// grows by no more than the refill that found room.
struct LedgerChecker {
    static let name = "ledger"

    private var last: [StoreBucket?]
    private let lease: Time
    /// After a step of the store's clock, trickle grants that have ended may seem to run until this time.
    private var steppedUntil: [Time]

    init(_ settings: WorldSettings) {
        last = Array(repeating: nil, count: settings.keys)
        lease = .milliseconds(settings.lease.durationMilliseconds)
        steppedUntil = Array(repeating: -1, count: settings.keys)
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        switch observation {
        case .stepped(let key, _, _):
            last[key] = nil
            steppedUntil[key] = now + lease
            return nil
        case .lost(let key, _):
            last[key] = nil
            return nil
        case .granted(let granted):
            defer { last[granted.key] = granted.bucket }
            return judge(granted, since: last[granted.key], at: granted.storeAt)
        default: return nil
        }
    }

    private func judge(_ granted: Granted, since last: StoreBucket?, at now: Time) -> String? {
        let (limit, bucket) = (granted.request.limit, granted.bucket)
        let outstanding = limit.units(of: bucket.outstanding)
        let trickleRate = bucket.trickleSlots.reduce(0) { $0 + $1.rate }
        if bucket.balanceUnits + outstanding > limit.capacityUnits {
            return "balance \(bucket.balanceUnits) plus outstanding \(outstanding) exceeds the capacity"
        }
        if outstanding > limit.capacityUnits { return "outstanding \(outstanding) exceeds the capacity" }
        if trickleRate > limit.refillUnitsPerMillisecond, granted.at > steppedUntil[granted.key] {
            return "trickle grants of \(trickleRate) units per millisecond exceed the refill rate"
        }
        guard let last else { return nil }
        // Below 0 if a lessee lost a trickle grant: its promised tokens can never be spent, and the store drops them.
        let before = max(0, last.balanceUnits + limit.units(of: last.outstanding))
        let inflow =
            (bucket.asOfMilliseconds - last.asOfMilliseconds) * limit.refillUnitsPerMillisecond
            - (bucket.overflowUnits - last.overflowUnits)
        let after = bucket.balanceUnits + outstanding
        guard after > before + inflow else { return nil }
        return "balance plus outstanding grew from \(before) to \(after), but the refill was \(inflow)"
    }
}
