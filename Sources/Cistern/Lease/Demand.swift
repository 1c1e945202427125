/// How fast an organisation asks for tokens at this server: an average that forgets.
struct Demand: Sendable, Equatable, BitwiseCopyable {
    /// Tokens a second.
    private(set) var tokensPerSecond = 0.0
    private var measuredAt: Instant

    init(now: Instant) {
        measuredAt = now
    }

    /// Takes in that `tokens` were asked for since the last call.
    ///
    /// A sample weighs Δ / (Δ + τ), where Δ is the time it covers and τ the memory: a long quiet spell counts as much
    /// as it should, and a burst in an instant counts for little. A rise has a shorter memory than a fall, since a
    /// lease too small costs a store call soon, and one too large only keeps tokens that go back.
    mutating func record(tokens: Int, settings: LeaseSettings, now: Instant) {
        let elapsed = Double(max(1, now.milliseconds - measuredAt.milliseconds))
        let sample = Double(tokens) * 1000 / elapsed
        let memory = sample > tokensPerSecond ? settings.demandRiseMilliseconds : settings.demandFallMilliseconds
        tokensPerSecond += elapsed / (elapsed + Double(memory)) * (sample - tokensPerSecond)
        measuredAt = max(measuredAt, now)
    }
}
