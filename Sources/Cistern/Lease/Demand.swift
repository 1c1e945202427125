/// The demand for one key's tokens at this server: an exponentially weighted moving average.
struct Demand: Sendable, Equatable, BitwiseCopyable {
    /// The average, in tokens a second.
    private(set) var tokensPerSecond = 0.0
    /// When demand was last recorded, in milliseconds modulo 2^32.
    ///
    /// The number wraps after 50 idle days: the old average then counts until it has decayed, as after a short pause.
    private var measuredAtMilliseconds: UInt32

    init(now: Instant) {
        measuredAtMilliseconds = UInt32(truncatingIfNeeded: now.milliseconds)
    }

    /// Records that `tokens` were requested since the last call; `now` is no earlier than at that call.
    ///
    /// A sample over a time Δ has the weight Δ / (Δ + τ): long pauses count in full, bursts little. τ is shorter for a
    /// rise: a lease that is too small soon costs a store call; one too large only holds tokens that are returned.
    mutating func record(tokens: Int, settings: LeaseSettings, now: Instant) {
        let nowMilliseconds = UInt32(truncatingIfNeeded: now.milliseconds)
        let elapsed = Double(max(1, nowMilliseconds &- measuredAtMilliseconds))
        let sample = Double(tokens) * 1000 / elapsed
        let memory = sample > tokensPerSecond ? settings.demandRiseMilliseconds : settings.demandFallMilliseconds
        tokensPerSecond += elapsed / (elapsed + Double(memory)) * (sample - tokensPerSecond)
        measuredAtMilliseconds = nowMilliseconds
    }
}
