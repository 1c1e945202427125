/// What is left of a bucket as far as a server knows.
///
/// It is worked out only where somebody asks: a decision alone needs none of it.
struct Balance: Sendable, BitwiseCopyable {
    /// What the store had left at ``asOf``.
    private let openMicrotokens: Int64
    /// How fast that has been growing since.
    private let inflow: Inflow
    private let asOf: Instant

    /// A balance that is known.
    @inline(__always)
    init(microtokens: Int64) {
        openMicrotokens = microtokens
        inflow = Inflow(microtokensPerMillisecond: 0, isShared: false)
        asOf = Instant(nanoseconds: 0)
    }

    /// What the store has said of an instant.
    @inline(__always)
    init(_ estimate: StoreBalanceEstimate, asOf: Instant) {
        openMicrotokens = estimate.openMicrotokens
        inflow = estimate.inflow
        self.asOf = asOf
    }

    /// What it comes to with tokens held besides, at an instant no earlier than that of which the store spoke.
    func microtokens(of limit: Limit, heldTokens: UInt32, at now: Instant) -> Int64 {
        var open = TokenBucket(microtokens: openMicrotokens, asOfMilliseconds: asOf.milliseconds)
        open.refill(
            microtokensPerMillisecond: inflow.microtokensPerMillisecond, ceilingMicrotokens: limit.capacityMicrotokens,
            nowMilliseconds: now.milliseconds)
        let held = Int64(heldTokens) &* Limit.microtokensPerToken
        return min(limit.capacityMicrotokens, max(0, open.microtokens) &+ held)
    }
}
