internal import Synchronization

/// Limits how many new keys per second a limiter accepts: a token bucket that only new keys draw from.
final class NewKeyBudget: Sendable {
    private let limit: Limit
    private let bucket: Mutex<TokenBucket>

    /// - Parameter perSecond: 1 to 10^9, also the burst; any other value gives nil.
    init?(perSecond: Int) {
        guard perSecond > 0, let limit = try? Limit.perSecond(perSecond) else {
            return nil
        }
        self.limit = limit
        bucket = Mutex(TokenBucket(units: limit.capacityUnits, asOfMilliseconds: 0))
    }

    /// Accepts one new key and returns nil, or returns the milliseconds until the next one may come.
    func take(now: Instant) -> Int64? {
        bucket.withLock { bucket in
            bucket.refill(limit, nowMilliseconds: now.milliseconds)
            if bucket.take(limit.unitsPerToken) { return nil }
            return limit.millisecondsToGain(limit.unitsPerToken - bucket.units)
        }
    }
}

/// The result of finding or adding a key: its entry index, or the reason why it has none.
enum EntryLookup {
    case at(Int)
    /// The table is full, and no key may be evicted.
    case full
    /// The budget for new keys is used up; the next one may come after this time.
    case tooManyNewKeys(retryAfterMilliseconds: Int64)
}
