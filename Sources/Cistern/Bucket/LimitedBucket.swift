/// A bucket and its limit, packed into 24 bytes, so that a table's entry including the key takes one cache line.
///
/// Unpacked they would take 28 bytes. An ``Instant`` has 44 bits of milliseconds. A rate is at most 10^12 microtokens
/// per millisecond, which is 40 bits.
struct LimitedBucket: BitwiseCopyable {
    private static let highRateBits: Int64 = 8
    private static let highRateMask: Int64 = 1 << highRateBits - 1

    /// The level as of the last update, in microtokens.
    private(set) var microtokens: Int64
    /// The millisecond of the last update; the lowest eight bits hold the rate's bits above ``lowRate``.
    private var asOfAndHighRate: Int64
    private var lowRate: UInt32
    private var capacityAndShadow: UInt32

    /// Creates a full bucket.
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

    /// The bucket as of the last update.
    private var bucket: TokenBucket {
        @inline(__always) get {
            TokenBucket(microtokens: microtokens, asOfMilliseconds: asOfAndHighRate &>> Self.highRateBits)
        }
        @inline(__always) set {
            microtokens = newValue.microtokens
            asOfAndHighRate = newValue.asOfMilliseconds &<< Self.highRateBits | asOfAndHighRate & Self.highRateMask
        }
    }

    /// The bucket refilled up to now.
    func bucket(now: Instant) -> TokenBucket {
        var bucket = bucket
        bucket.refill(limit, nowMilliseconds: now.milliseconds)
        return bucket
    }

    /// Whether the bucket is full by now, so that forgetting it would change nothing.
    func isFull(now: Instant) -> Bool { bucket(now: now).microtokens >= limit.capacityMicrotokens }

    /// When the bucket is full, so that forgetting it changes nothing, and when it was last used; in milliseconds.
    var forgettable: (from: Int64, usedAt: Int64) {
        let bucket = bucket
        let full = limit.millisecondsToGain(limit.capacityMicrotokens - bucket.microtokens)
        return (bucket.asOfMilliseconds &+ full, bucket.asOfMilliseconds)
    }

    /// Refills the bucket, then takes the cost if the tokens suffice.
    @inline(__always)
    mutating func pay(_ costMicrotokens: Int64, nowMilliseconds: Int64) -> Bool {
        var bucket = bucket
        bucket.refill(limit, nowMilliseconds: nowMilliseconds)
        let isPaid = bucket.take(costMicrotokens)
        self.bucket = bucket
        return isPaid
    }

    /// The allowed decision of a request that has just been paid.
    @inline(__always)
    func decision(at now: Instant) -> Decision {
        .allowed(limit, balance: Balance(microtokens: microtokens), heldTokens: 0, at: now)
    }

    /// Switches to another limit; the refill up to now still follows the old one.
    mutating func change(to limit: Limit, now: Instant) {
        bucket = bucket(now: now)
        bucket.cap(at: limit.capacityMicrotokens)
        self.limit = limit
    }

    /// Fills the bucket to its capacity.
    mutating func fill(now: Instant) { self = LimitedBucket(full: limit, now: now) }
}

extension LimitedBucket: TableValue {
    typealias Hot = LimitedBucket
    /// Empty: the whole value is hot.
    struct Cold: BitwiseCopyable {}
}
