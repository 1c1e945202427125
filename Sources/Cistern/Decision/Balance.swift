/// The balance of a bucket as far as this server knows it.
///
/// Computed only on request, because a decision alone does not need it.
struct Balance: Sendable, BitwiseCopyable {
    /// The tokens that the store could still grant at ``asOf``, in units.
    private let openUnits: Int64
    /// How fast ``openUnits`` has been growing since.
    private let inflow: Inflow
    private let asOf: Instant

    /// Creates a known balance, which does not grow.
    @inline(__always)
    init(units: Int64) {
        openUnits = units
        inflow = Inflow(unitsPerMillisecond: 0, isShared: false)
        asOf = Instant(nanoseconds: 0)
    }

    /// Creates a balance that has grown by `inflow` since `asOf`.
    @inline(__always)
    init(openUnits: Int64, inflow: Inflow, asOf: Instant) {
        self.openUnits = openUnits
        self.inflow = inflow
        self.asOf = asOf
    }

    init(_ estimate: StoreBalanceEstimate) {
        self.init(openUnits: estimate.openUnits, inflow: estimate.inflow, asOf: estimate.asOf)
    }

    /// The balance in units, tokens held here included, at an instant no earlier than ``asOf``.
    func units(of limit: Limit, heldTokens: UInt32, at now: Instant) -> Int64 {
        var open = TokenBucket(units: openUnits, asOfMilliseconds: asOf.milliseconds)
        open.refill(
            unitsPerMillisecond: inflow.unitsPerMillisecond, ceilingUnits: limit.capacityUnits,
            nowMilliseconds: now.milliseconds)
        let held = limit.units(of: Int(heldTokens))
        return min(limit.capacityUnits, max(0, open.units) &+ held)
    }
}
