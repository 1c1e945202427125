internal import Cistern

/// The rules of the store's books hold after each step: T + O ≤ C, O ≤ C, and the paces add up to R at most; and from one
/// step to the next T + O grows by no more than what flowed in and found room.
struct LedgerChecker {
    static let name = "ledger"

    private var last: [StoreBucket?]
    private let lease: Time
    /// Until when trickle grants that have ended may seem to run again, after a step of the store's clock.
    private var steppedUntil: [Time]

    init(_ settings: WorldSettings) {
        last = Array(repeating: nil, count: settings.keys)
        lease = .milliseconds(settings.limiter.lease.durationMilliseconds)
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
        let outstanding = Int64(bucket.outstanding) * Limit.microtokensPerToken
        let trickleRate = bucket.records.filter { $0.trickleEndsMilliseconds > now.storeMilliseconds }.reduce(0) {
            $0 + $1.trickleRate
        }
        if bucket.balanceMicrotokens + outstanding > limit.capacityMicrotokens {
            return "balance \(bucket.balanceMicrotokens) and \(outstanding) outstanding are above the capacity"
        }
        if outstanding > limit.capacityMicrotokens { return "\(outstanding) outstanding is above the capacity" }
        if trickleRate > limit.refillMicrotokensPerMillisecond, granted.at > steppedUntil[granted.key] {
            return "paces of \(trickleRate) are above the refill rate"
        }
        guard let last else { return nil }
        // Below 0 they are where a lessee forgot a pace: what was promised for it can never be spent, and is let go.
        let before = max(0, last.balanceMicrotokens + Int64(last.outstanding) * Limit.microtokensPerToken)
        let inflow =
            (bucket.asOfMilliseconds - last.asOfMilliseconds) * limit.refillMicrotokensPerMillisecond
            - (bucket.overflow - last.overflow)
        let after = bucket.balanceMicrotokens + outstanding
        guard after > before + inflow else { return nil }
        return "the books grew from \(before) to \(after) while \(inflow) flowed in"
    }
}
