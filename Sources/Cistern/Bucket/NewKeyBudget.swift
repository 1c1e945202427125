internal import Synchronization

/// How many new names a second a limiter takes in: a token bucket of its own, which only newcomers touch.
final class NewKeyBudget: Sendable {
    private let limit: Limit
    private let bucket: Mutex<TokenBucket>

    /// - Parameter perSecond: 1 to 10^9; so many may come at once, too.
    init?(perSecond: Int) {
        guard perSecond > 0, let limit = try? Limit(capacity: perSecond, refillPerSecond: Double(perSecond)) else {
            return nil
        }
        self.limit = limit
        bucket = Mutex(TokenBucket(microtokens: limit.capacityMicrotokens, asOfMilliseconds: 0))
    }

    /// Takes one newcomer in; else the milliseconds until one may come.
    func take(now: Instant) -> Int64? {
        bucket.withLock { bucket in
            bucket.refill(limit, nowMilliseconds: now.milliseconds)
            if bucket.take(Limit.microtokensPerToken) { return nil }
            return limit.millisecondsToGain(Limit.microtokensPerToken - bucket.microtokens)
        }
    }
}

/// Where a name is kept, or why it is not.
enum EntryLookup {
    case at(Int)
    /// There is no room, and none can be made.
    case full
    /// More new names have come than may; one may again after this time.
    case tooManyNewKeys(retryAfterMilliseconds: Int64)
}
