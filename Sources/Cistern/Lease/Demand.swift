/// How fast an organisation uses tokens at this server: an average that forgets.
struct Demand: Sendable, Equatable, BitwiseCopyable {
    /// Tokens a second.
    private(set) var tokensPerSecond = 0.0
    private var measuredAt: Instant

    init(now: Instant) {
        measuredAt = now
    }

    /// Takes in that `tokens` were used or asked for since the last call.
    ///
    /// A sample weighs Δ / (Δ + τ), where Δ is the time it covers and τ is `memoryMilliseconds`: a long quiet spell
    /// counts as much as it should, and a burst in an instant counts for little.
    mutating func record(tokens: Int, memoryMilliseconds: Int64, now: Instant) {
        let elapsed = Double(max(1, now.milliseconds - measuredAt.milliseconds))
        let weight = elapsed / (elapsed + Double(memoryMilliseconds))
        tokensPerSecond += weight * (Double(tokens) * 1000 / elapsed - tokensPerSecond)
        measuredAt = max(measuredAt, now)
    }

    /// How many tokens to lease beyond what waits already: the demand over the horizon, no faster than the bucket can
    /// keep up, and none where that is too little to be worth it.
    func tokensAhead(limit: Limit, settings: LeaseSettings) -> Int {
        let sustained = min(tokensPerSecond, limit.refillPerSecond)
        let tokens = sustained * Double(settings.horizonMilliseconds) / 1000
        guard tokens >= Double(settings.minimumTokens) else { return 0 }
        return Int(min(tokens, Double(limit.capacity)))
    }
}
