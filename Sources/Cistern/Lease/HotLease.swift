/// The part of a lease that the fast path reads and writes: 24 bytes, on one cache line with the key.
struct HotLease: Sendable, BitwiseCopyable {
    /// Fast-path condition: `now < deadline`.
    ///
    /// At the deadline the lease is renewed, or it ends.
    var deadline: Instant
    /// ``LeaseState/lastSpentAt``.
    var lastSpentAt: Instant
    /// ``LeaseState/heldTokens``.
    var heldTokens: UInt32
    /// Fast-path condition: with at least this many tokens left, a payment changes nothing else.
    var floor: UInt32

    /// Pays a cost from the held tokens if nothing else about the lease changes, and returns whether it did.
    @inline(__always)
    mutating func spend(cost: UInt32, now: Instant) -> Bool {
        guard Int64(heldTokens) &- Int64(cost) >= Int64(floor), now < deadline, now >= lastSpentAt else { return false }
        heldTokens &-= cost
        lastSpentAt = now
        return true
    }
}
