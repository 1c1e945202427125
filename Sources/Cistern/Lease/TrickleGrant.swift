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

    private func unitsPerMillisecond(_ limit: Limit) -> Int64 {
        durationMilliseconds == 0 ? 0 : limit.units(of: tokens) / durationMilliseconds
    }

    var tokensPerSecond: Double {
        durationMilliseconds == 0 ? 0 : Double(tokens) * 1000 / Double(durationMilliseconds)
    }

    /// The tokens that have not arrived yet.
    var remainingTokens: Int { tokens - arrivedTokens }

    /// Takes in the tokens that have arrived since the last call, and returns their number.
    mutating func arrive(_ limit: Limit, clockDriftPerMille: Int64, now: Instant) -> Int {
        let certain = LeaseSettings.minimumStoreMilliseconds(
            from: Instant(milliseconds: startMilliseconds), to: now, clockDriftPerMille: clockDriftPerMille)
        // The store counts whole milliseconds of its own clock, which may be one fewer.
        let elapsed = max(0, certain - 1)
        let all =
            elapsed >= durationMilliseconds
            ? tokens : Int(unitsPerMillisecond(limit) * elapsed / limit.unitsPerToken)
        let gained = max(0, all - arrivedTokens)
        arrivedTokens += gained
        return gained
    }

    /// Milliseconds until `count` more tokens have arrived; nil if fewer are to come.
    func millisecondsUntil(_ count: Int, _ limit: Limit, clockDriftPerMille: Int64, now: Instant) -> Int64? {
        let rate = unitsPerMillisecond(limit)
        guard count <= remainingTokens, rate > 0 else { return nil }
        let due = limit.units(of: arrivedTokens + count)
        let wait = LeaseSettings.waitMilliseconds((due - 1) / rate + 1, clockDriftPerMille: clockDriftPerMille)
        return max(0, wait - (now.milliseconds - startMilliseconds))
    }
}
