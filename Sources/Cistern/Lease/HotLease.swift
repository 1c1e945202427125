/// What most payments look at of a lease, and all that they change: while it rests, nothing else becomes of it.
///
/// In 24 bytes, so that it stands on one cache line with the organization's name.
struct HotLease: Sendable, BitwiseCopyable {
    /// ``Lease/fastPathDeadline``.
    var until: Instant
    /// ``Lease/spentAt``.
    var spentAt: Instant
    /// ``Lease/heldTokens``.
    var heldTokens: UInt32 = 0
    /// ``Lease/fastPathFloor``.
    var downTo = UInt32.max

    init(until: Instant, spentAt: Instant) {
        (self.until, self.spentAt) = (until, spentAt)
    }

    /// Pays a request from the tokens held where nothing else becomes of the lease, as nearly always; whether it has.
    ///
    /// It has not where the tokens do not suffice, or where ``Lease/spend(cost:clockDriftPerMille:now:tally:)`` has to look
    /// at what time or spending has brought about. What the store said is not carried on: who asks for a balance does that.
    @inline(__always)
    mutating func spendHot(cost: UInt32, now: Instant) -> Bool {
        guard Int64(heldTokens) &- Int64(cost) >= Int64(downTo), now < until, now >= spentAt else { return false }
        heldTokens &-= cost
        spentAt = now
        return true
    }
}

extension Lease: TableValue {
    typealias Hot = HotLease
    typealias Cold = InlineArray<12, UInt64>
}
