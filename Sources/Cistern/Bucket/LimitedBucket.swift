/// A bucket and the limit that holds for it, in 24 bytes: with a name beside it a table's entry takes one cache line.
///
/// Side by side they take 28. Neither needs all of it: an ``Instant`` has milliseconds of 44 bits, and a rate is 10^12
/// microtokens a millisecond at most, which is 40.
struct LimitedBucket: BitwiseCopyable {
    private static let highRateBits: Int64 = 8
    private static let highRateMask: Int64 = 1 << highRateBits - 1

    /// The level, in microtokens, as it was when the bucket was last touched.
    private(set) var microtokens: Int64
    /// The millisecond at which the level was right, and in the lowest bits what ``lowRate`` has no room for.
    private var asOfAndHighRate: Int64
    private var lowRate: UInt32
    private var capacityAndShadow: UInt32

    /// A bucket that nobody has used yet.
    init(full limit: Limit, now: Instant) {
        (microtokens, asOfAndHighRate, lowRate, capacityAndShadow) = (0, 0, 0, 0)
        self.limit = limit
        bucket = TokenBucket(full: limit, nowMilliseconds: now.milliseconds)
    }

    private(set) var limit: Limit {
        @inline(__always) get {
            Limit(
                refillMicrotokensPerMillisecond: (asOfAndHighRate & Self.highRateMask) &<< 32 | Int64(lowRate),
                capacityAndShadow: capacityAndShadow)
        }
        set {
            let rate = newValue.refillMicrotokensPerMillisecond
            asOfAndHighRate = asOfAndHighRate & ~Self.highRateMask | rate &>> 32
            lowRate = UInt32(truncatingIfNeeded: rate)
            capacityAndShadow = newValue.capacityAndShadow
        }
    }

    /// The bucket as it was when it was last touched.
    private var bucket: TokenBucket {
        @inline(__always) get {
            TokenBucket(microtokens: microtokens, asOfMilliseconds: asOfAndHighRate &>> Self.highRateBits)
        }
        @inline(__always) set {
            microtokens = newValue.microtokens
            asOfAndHighRate = newValue.asOfMilliseconds &<< Self.highRateBits | asOfAndHighRate & Self.highRateMask
        }
    }

    /// The bucket as it is now.
    func bucket(now: Instant) -> TokenBucket {
        var bucket = bucket
        bucket.refill(limit, nowMilliseconds: now.milliseconds)
        return bucket
    }

    /// Whether it has refilled by now, so that forgetting it would change nothing.
    func isFull(now: Instant) -> Bool { bucket(now: now).microtokens >= limit.capacityMicrotokens }

    /// When it is full, so that forgetting it changes nothing, and when it was last used; in milliseconds.
    var forgettable: (from: Int64, usedAt: Int64) {
        let bucket = bucket
        let full = limit.millisecondsToGain(limit.capacityMicrotokens - bucket.microtokens)
        return (bucket.asOfMilliseconds &+ full, bucket.asOfMilliseconds)
    }

    /// Lets time pass, and takes the cost if it is there.
    @inline(__always)
    mutating func pay(_ costMicrotokens: Int64, nowMilliseconds: Int64) -> Payment {
        // Not by `bucket(now:)`: inlined here it costs a leased decision three instructions, in the same function.
        var bucket = bucket
        bucket.refill(limit, nowMilliseconds: nowMilliseconds)
        let isPaid = bucket.take(costMicrotokens)
        self.bucket = bucket
        guard isPaid else { return .none }
        return Payment(limit, balance: Balance(microtokens: bucket.microtokens))
    }

    /// Goes over to another limit; what has flowed in by now came under the old one.
    mutating func change(to limit: Limit, now: Instant) {
        bucket = bucket(now: now)
        bucket.cap(at: limit.capacityMicrotokens)
        self.limit = limit
    }

    /// Fills it.
    mutating func fill(now: Instant) { self = LimitedBucket(full: limit, now: now) }
}

extension LimitedBucket: TableValue {
    typealias Hot = LimitedBucket
    /// Nothing stands elsewhere.
    struct Cold: BitwiseCopyable {}
}
