/// The grid on which a store rounds the ends of leases and trickle grants up, so that it keeps totals instead of terms.
///
/// Rounding up is safe: the lessee stops earlier.
struct SlotGrid {
    /// The slots of leases; longer ones let the store keep fewer, but hold the tokens of a crashed server for longer.
    static let leases = SlotGrid(parts: 8)
    /// The slots of trickle grants; longer ones slow the grants down.
    static let trickles = SlotGrid(parts: 32)

    /// A slot is at most this part of the time that it is for.
    let parts: Int64

    /// The length of a slot for a time of `milliseconds`: a power of two.
    func length(for milliseconds: Int64) -> Int64 {
        let part = milliseconds / parts
        return part > 1 ? 1 << (63 - part.leadingZeroBitCount) : 1
    }

    /// The end of a time of `milliseconds`, rounded up to the end of a slot.
    func end(of milliseconds: Int64, from now: Int64) -> Int64 {
        let length = length(for: milliseconds)
        return (now + milliseconds + length - 1) / length * length
    }
}

/// Totals of the lease records that expire together.
package struct ExpirySlot: Sendable, Equatable {
    /// When the records expire, on the store's clock.
    package let endsMilliseconds: Int64
    /// The sum of their tokens.
    package var tokens: Int
    /// The sum of their weights.
    package var weight: Int64
    /// How many there are.
    package var lessees: Int

    package init(endsMilliseconds: Int64, tokens: Int, weight: Int64, lessees: Int) {
        self.endsMilliseconds = endsMilliseconds
        self.tokens = tokens
        self.weight = weight
        self.lessees = lessees
    }
}

/// The total rate of the trickle grants that end together.
package struct TrickleSlot: Sendable, Equatable {
    /// When the grants end, on the store's clock.
    package let endsMilliseconds: Int64
    /// The sum of their rates, in units per millisecond.
    package var rate: Int64

    package init(endsMilliseconds: Int64, rate: Int64) {
        self.endsMilliseconds = endsMilliseconds
        self.rate = rate
    }

    /// What is still to come, in units.
    func remainingUnits(at now: Int64) -> Int64 { rate * (endsMilliseconds - now) }
}
