/// A token bucket at rest: its level, and when the level was up to date.
///
/// The level is refilled only on access, so an idle bucket costs nothing. The arithmetic is exact; see ``Limit`` for
/// the units.
package struct TokenBucket: Sendable, Equatable, BitwiseCopyable {
    /// The level, in microtokens.
    package private(set) var microtokens: Int64
    /// When the level was up to date, in milliseconds on the caller's clock.
    package private(set) var asOfMilliseconds: Int64

    package init(microtokens: Int64, asOfMilliseconds: Int64) {
        self.microtokens = microtokens
        self.asOfMilliseconds = asOfMilliseconds
    }

    /// Creates a full bucket.
    package init(full limit: Limit, nowMilliseconds: Int64) {
        self.init(microtokens: limit.capacityMicrotokens, asOfMilliseconds: nowMilliseconds)
    }

    /// Adds the refill since the last update, up to `ceilingMicrotokens`.
    ///
    /// A clock reading earlier than the last one adds nothing: two threads may read the clock in one order and take the
    /// lock in the other. A level above the ceiling is left as it is.
    @inline(__always)
    package mutating func refill(_ limit: Limit, ceilingMicrotokens: Int64, nowMilliseconds: Int64) {
        refill(
            microtokensPerMillisecond: limit.refillMicrotokensPerMillisecond, ceilingMicrotokens: ceilingMicrotokens,
            nowMilliseconds: nowMilliseconds)
    }

    /// Adds the refill since the last update at the given rate, up to `ceilingMicrotokens`.
    @inline(__always)
    package mutating func refill(
        microtokensPerMillisecond rate: Int64, ceilingMicrotokens: Int64, nowMilliseconds: Int64
    ) {
        // Branchless: whether a millisecond has passed since a busy bucket's last request is unpredictable.
        let elapsed = max(0, nowMilliseconds &- asOfMilliseconds)
        asOfMilliseconds &+= elapsed
        let inflow = UInt64(bitPattern: elapsed).multipliedFullWidth(by: UInt64(bitPattern: rate))
        let room = UInt64(bitPattern: max(0, ceilingMicrotokens &- microtokens))
        microtokens &+= Int64(bitPattern: inflow.high > 0 ? room : min(inflow.low, room))
    }

    /// Adds the refill since the last update, up to the limit's capacity.
    @inline(__always)
    package mutating func refill(_ limit: Limit, nowMilliseconds: Int64) {
        refill(limit, ceilingMicrotokens: limit.capacityMicrotokens, nowMilliseconds: nowMilliseconds)
    }

    /// Lowers a level that is above a new, lower ceiling.
    mutating func cap(at ceilingMicrotokens: Int64) {
        microtokens = min(microtokens, ceilingMicrotokens)
    }

    /// Takes the amount if the level covers it; returns whether it did.
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
