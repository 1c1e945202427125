/// A token bucket at rest: how many tokens it held, and when that was true.
///
/// The level is only brought up to date when somebody looks, so an idle bucket costs nothing. The arithmetic is exact:
/// see ``Limit`` for the units.
package struct TokenBucket: Sendable, Equatable, BitwiseCopyable {
    /// The level, in microtokens.
    package private(set) var microtokens: Int64
    /// The millisecond on the caller's clock at which the level was right.
    package private(set) var asOfMilliseconds: Int64

    package init(microtokens: Int64, asOfMilliseconds: Int64) {
        self.microtokens = microtokens
        self.asOfMilliseconds = asOfMilliseconds
    }

    /// A bucket that nobody has used yet.
    package init(full limit: Limit, nowMilliseconds: Int64) {
        self.init(microtokens: limit.capacityMicrotokens, asOfMilliseconds: nowMilliseconds)
    }

    /// Adds what has flowed in since the level was last right, up to `ceilingMicrotokens`.
    ///
    /// A clock reading earlier than the last one adds nothing: two threads may read the clock in one order and take
    /// the lock in the other. A level above the ceiling is left as it is.
    @inline(__always)
    package mutating func refill(_ limit: Limit, ceilingMicrotokens: Int64, nowMilliseconds: Int64) {
        refill(
            microtokensPerMillisecond: limit.refillMicrotokensPerMillisecond, ceilingMicrotokens: ceilingMicrotokens,
            nowMilliseconds: nowMilliseconds)
    }

    /// The same at any rate.
    @inline(__always)
    package mutating func refill(
        microtokensPerMillisecond rate: Int64, ceilingMicrotokens: Int64, nowMilliseconds: Int64
    ) {
        // Without a branch: whether a millisecond has passed since a busy bucket's last request is anybody's guess.
        let elapsed = max(0, nowMilliseconds &- asOfMilliseconds)
        asOfMilliseconds &+= elapsed
        let inflow = UInt64(bitPattern: elapsed).multipliedFullWidth(by: UInt64(bitPattern: rate))
        let room = UInt64(bitPattern: max(0, ceilingMicrotokens &- microtokens))
        microtokens &+= Int64(bitPattern: inflow.high > 0 ? room : min(inflow.low, room))
    }

    /// Brings the level up to date, with the limit's capacity as the ceiling.
    @inline(__always)
    package mutating func refill(_ limit: Limit, nowMilliseconds: Int64) {
        refill(limit, ceilingMicrotokens: limit.capacityMicrotokens, nowMilliseconds: nowMilliseconds)
    }

    /// Lowers a level that is above a new, lower ceiling.
    mutating func cap(at ceilingMicrotokens: Int64) {
        microtokens = min(microtokens, ceilingMicrotokens)
    }

    /// Takes the amount out if all of it is there, and says whether it was.
    package mutating func take(_ amountMicrotokens: Int64) -> Bool {
        guard microtokens >= amountMicrotokens else { return false }
        microtokens &-= amountMicrotokens
        return true
    }
}

extension Limit {
    /// Milliseconds, rounded up, until this many microtokens have flowed in.
    package func millisecondsToGain(_ microtokens: Int64) -> Int64 {
        guard microtokens > 0 else { return 0 }
        return (microtokens - 1) / refillMicrotokensPerMillisecond + 1
    }
}
