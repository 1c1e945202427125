/// Tokens that arrive one after the other: a part of the refill to come, granted in advance.
///
/// The idea comes from CockroachDB's distributed token bucket. The time is counted at the rate of the slowest possible
/// clock, and from the arrival of the reply, which is later than the grant at the store. So no token is spent before it
/// has flowed into the bucket.
struct TrickleGrant: Sendable, Equatable {
    /// The longest duration, in milliseconds; no lease lasts longer.
    static let longestMilliseconds = Int64(UInt16.max)

    /// All tokens of the grant.
    let tokens: Int
    let durationMilliseconds: Int64
    let startMilliseconds: Int64
    private(set) var arrivedTokens: Int

    /// No trickle.
    init() { self.init(tokens: 0, durationMilliseconds: 0, startMilliseconds: 0, arrivedTokens: 0) }

    init(tokens: Int, durationMilliseconds: Int64, startMilliseconds: Int64, arrivedTokens: Int) {
        self.tokens = tokens
        self.durationMilliseconds = durationMilliseconds
        self.startMilliseconds = startMilliseconds
        self.arrivedTokens = arrivedTokens
    }

    /// Creates a grant whose tokens arrive at a steady rate from `startedAt` on.
    ///
    /// - Parameter durationMilliseconds: 1 to ``longestMilliseconds``; with another duration there is no trickle.
    init(tokens: Int, durationMilliseconds: Int64, startedAt: Instant) {
        guard tokens > 0, 1...Self.longestMilliseconds ~= durationMilliseconds else {
            self.init()
            return
        }
        self.init(
            tokens: tokens, durationMilliseconds: durationMilliseconds, startMilliseconds: startedAt.milliseconds,
            arrivedTokens: 0)
    }

    private var microtokensPerMillisecond: Int64 {
        durationMilliseconds == 0 ? 0 : Int64(tokens) * Limit.microtokensPerToken / durationMilliseconds
    }

    var tokensPerSecond: Double { Double(microtokensPerMillisecond) / 1000 }

    /// The tokens that have not arrived yet.
    var remainingTokens: Int { tokens - arrivedTokens }

    /// Takes in the tokens that have arrived since the last call, and returns their number.
    mutating func arrive(clockDriftPerMille: Int64, now: Instant) -> Int {
        let certain = LeaseSettings.minimumStoreMilliseconds(
            from: Instant(milliseconds: startMilliseconds), to: now, clockDriftPerMille: clockDriftPerMille)
        // The store counts whole milliseconds of its own clock, which may be one fewer.
        let elapsed = max(0, certain - 1)
        let all =
            elapsed >= durationMilliseconds
            ? tokens : Int(microtokensPerMillisecond * elapsed / Limit.microtokensPerToken)
        let gained = max(0, all - arrivedTokens)
        arrivedTokens += gained
        return gained
    }

    /// Milliseconds until `count` more tokens have arrived; nil if fewer are to come.
    func millisecondsUntil(_ count: Int, clockDriftPerMille: Int64, now: Instant) -> Int64? {
        let rate = microtokensPerMillisecond
        guard count <= remainingTokens, rate > 0 else { return nil }
        let due = Int64(arrivedTokens + count) * Limit.microtokensPerToken
        let wait = LeaseSettings.waitMilliseconds((due - 1) / rate + 1, clockDriftPerMille: clockDriftPerMille)
        return max(0, wait - (now.milliseconds - startMilliseconds))
    }
}
