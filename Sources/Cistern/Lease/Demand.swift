/// How fast an organization asks for tokens at this server: an average that forgets.
struct Demand: Sendable, Equatable, BitwiseCopyable {
    /// Tokens a second.
    private(set) var tokensPerSecond = 0.0
    /// In milliseconds, of which 32 bits are enough: an organization silent for all of 50 days is known too well after that,
    /// for as long as the average takes to forget.
    private var measuredAtMilliseconds: UInt32

    init(now: Instant) {
        measuredAtMilliseconds = UInt32(truncatingIfNeeded: now.milliseconds)
    }

    /// Takes in that `tokens` were asked for since the last call, which was no later than this one.
    ///
    /// A sample weighs Δ / (Δ + τ), where Δ is the time it covers and τ the memory: a long quiet spell counts as much
    /// as it should, and a burst in an instant counts for little. A rise has a shorter memory than a fall, since a
    /// lease too small costs a store call soon, and one too large only keeps tokens that go back.
    mutating func record(tokens: Int, settings: LeaseSettings, now: Instant) {
        let nowMilliseconds = UInt32(truncatingIfNeeded: now.milliseconds)
        let elapsed = Double(max(1, nowMilliseconds &- measuredAtMilliseconds))
        let sample = Double(tokens) * 1000 / elapsed
        let memory = sample > tokensPerSecond ? settings.demandRiseMilliseconds : settings.demandFallMilliseconds
        tokensPerSecond += elapsed / (elapsed + Double(memory)) * (sample - tokensPerSecond)
        measuredAtMilliseconds = nowMilliseconds
    }
}
