internal import Cistern

/// The four rules of the store's books hold after each step: T + O ≤ C, O ≤ C, the paces add up to R at most, and what
/// a request is granted is no more than was open.
struct LedgerChecker {
    static let name = "ledger"

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        guard case .granted(let granted) = observation else { return nil }
        let (limit, bucket) = (granted.request.limit, granted.bucket)
        let outstanding = Int64(bucket.outstanding) * Limit.microtokensPerToken
        let running = bucket.records.filter { $0.paceEndsMilliseconds > now.storeMilliseconds }
        let pace = running.reduce(0) { $0 + $1.pace }
        if bucket.balanceMicrotokens + outstanding > limit.capacityMicrotokens {
            return "balance \(bucket.balanceMicrotokens) and \(outstanding) outstanding are above the capacity"
        }
        if outstanding > limit.capacityMicrotokens { return "\(outstanding) outstanding is above the capacity" }
        if pace > limit.refillMicrotokensPerMillisecond { return "paces of \(pace) are above the refill rate" }
        return nil
    }
}
