/// A bucket and the number of its limit, small enough to share a cache line with the key.
struct LimitedBucket: Equatable, BitwiseCopyable {
    /// The bucket as of the last update.
    private(set) var bucket: TokenBucket
    /// The limit's number in the ``LimitPool`` of the shard.
    private(set) var limitID: LimitPool.ID

    /// Creates a full bucket.
    init(full limit: Limit, id: LimitPool.ID, now: Instant) {
        bucket = TokenBucket(full: limit, nowMilliseconds: now.milliseconds)
        limitID = id
    }

    /// The bucket refilled up to now.
    func bucket(_ limit: Limit, now: Instant) -> TokenBucket {
        var bucket = bucket
        bucket.refill(limit, nowMilliseconds: now.milliseconds)
        return bucket
    }

    /// When the bucket is full, so that forgetting it changes nothing, and when it was last used; in milliseconds.
    func forgettable(_ limit: Limit) -> (from: Int64, usedAt: Int64) {
        let full = limit.millisecondsToGain(limit.capacityUnits - bucket.units)
        return (bucket.asOfMilliseconds &+ full, bucket.asOfMilliseconds)
    }

    /// Refills the bucket, then takes the cost if the tokens suffice.
    @inline(__always)
    mutating func pay(_ cost: Int, _ limit: Limit, nowMilliseconds: Int64) -> Bool {
        bucket.refill(limit, nowMilliseconds: nowMilliseconds)
        return bucket.take(limit.units(of: cost))
    }

    /// The allowed decision of a request that has just been paid.
    @inline(__always)
    func decision(_ limit: Limit, at now: Instant) -> Decision {
        .allowed(limit, balance: Balance(units: bucket.units), heldTokens: 0, at: now)
    }

    /// Switches to another limit; the refill up to now still follows the old one.
    mutating func change(from old: Limit, to limit: Limit, id: LimitPool.ID, now: Instant) {
        let units = old.convert(bucket(old, now: now).units, to: limit)
        bucket = TokenBucket(
            units: min(units, limit.capacityUnits), asOfMilliseconds: max(bucket.asOfMilliseconds, now.milliseconds))
        limitID = id
    }

    /// Fills the bucket to its capacity.
    mutating func fill(_ limit: Limit, now: Instant) { self = LimitedBucket(full: limit, id: limitID, now: now) }
}

extension LimitedBucket: TableValue {
    typealias Hot = LimitedBucket
    /// Empty: the whole value is hot.
    struct Cold: BitwiseCopyable {}
}
