/// The balance of a bucket as far as this server knows it.
///
/// Computed only on request, because a decision alone does not need it.
struct Balance: Sendable, BitwiseCopyable {
    /// The tokens that the store could still grant at ``asOf``, in microtokens.
    private let openMicrotokens: Int64
    /// How fast ``openMicrotokens`` has been growing since.
    private let inflow: Inflow
    private let asOf: Instant

    /// Creates a known balance, which does not grow.
    @inline(__always)
    init(microtokens: Int64) {
        openMicrotokens = microtokens
        inflow = Inflow(microtokensPerMillisecond: 0, isShared: false)
        asOf = Instant(nanoseconds: 0)
    }

    /// Creates a balance that has grown by `inflow` since `asOf`.
    @inline(__always)
    init(openMicrotokens: Int64, inflow: Inflow, asOf: Instant) {
        self.openMicrotokens = openMicrotokens
        self.inflow = inflow
        self.asOf = asOf
    }

    init(_ estimate: StoreBalanceEstimate) {
        self.init(openMicrotokens: estimate.openMicrotokens, inflow: estimate.inflow, asOf: estimate.asOf)
    }

    /// The balance in microtokens, tokens held here included, at an instant no earlier than ``asOf``.
    func microtokens(of limit: Limit, heldTokens: UInt32, at now: Instant) -> Int64 {
        var open = TokenBucket(microtokens: openMicrotokens, asOfMilliseconds: asOf.milliseconds)
        open.refill(
            microtokensPerMillisecond: inflow.microtokensPerMillisecond, ceilingMicrotokens: limit.capacityMicrotokens,
            nowMilliseconds: now.milliseconds)
        let held = Int64(heldTokens) &* Limit.microtokensPerToken
        return min(limit.capacityMicrotokens, max(0, open.microtokens) &+ held)
    }
}
