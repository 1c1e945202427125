/// A token bucket at rest: its level, and when the level was up to date.
///
/// The level is refilled only on access, so an idle bucket costs nothing. The arithmetic is exact; see ``Limit`` for
/// the units.
package struct TokenBucket: Sendable, Equatable, BitwiseCopyable {
    /// The level, in units.
    package private(set) var units: Int64
    /// When the level was up to date, in milliseconds on the caller's clock.
    package private(set) var asOfMilliseconds: Int64

    package init(units: Int64, asOfMilliseconds: Int64) {
        self.units = units
        self.asOfMilliseconds = asOfMilliseconds
    }

    /// Creates a full bucket.
    package init(full limit: Limit, nowMilliseconds: Int64) {
        self.init(units: limit.capacityUnits, asOfMilliseconds: nowMilliseconds)
    }

    /// Adds the refill since the last update, up to `ceilingUnits`.
    ///
    /// A clock reading earlier than the last one adds nothing: two threads may read the clock in one order and take the
    /// lock in the other. A level above the ceiling is left as it is.
    @inline(__always)
    package mutating func refill(_ limit: Limit, ceilingUnits: Int64, nowMilliseconds: Int64) {
        refill(
            unitsPerMillisecond: limit.refillUnitsPerMillisecond, ceilingUnits: ceilingUnits,
            nowMilliseconds: nowMilliseconds)
    }

    /// Adds the refill since the last update at the given rate, up to `ceilingUnits`.
    @inline(__always)
    package mutating func refill(
        unitsPerMillisecond rate: Int64, ceilingUnits: Int64, nowMilliseconds: Int64
    ) {
        // Branchless: whether a millisecond has passed since a busy bucket's last request is unpredictable.
        let elapsed = max(0, nowMilliseconds &- asOfMilliseconds)
        asOfMilliseconds &+= elapsed
        let inflow = UInt64(bitPattern: elapsed).multipliedFullWidth(by: UInt64(bitPattern: rate))
        let room = UInt64(bitPattern: max(0, ceilingUnits &- units))
        units &+= Int64(bitPattern: inflow.high > 0 ? room : min(inflow.low, room))
    }

    /// Adds the refill since the last update, up to the limit's capacity.
    @inline(__always)
    package mutating func refill(_ limit: Limit, nowMilliseconds: Int64) {
        refill(limit, ceilingUnits: limit.capacityUnits, nowMilliseconds: nowMilliseconds)
    }

    /// Takes the amount if the level covers it; returns whether it did.
    package mutating func take(_ amountUnits: Int64) -> Bool {
        guard units >= amountUnits else { return false }
        units &-= amountUnits
        return true
    }
}
