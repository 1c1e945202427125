/// Tokens that come one after the other: a part of what flows into the bucket, promised in advance.
///
/// They are counted from when the promise arrived, which is later than when the store made it, and on a clock taken to
/// be as slow as it may be, so that none is spent here before it has flowed into the bucket there.
struct Pace: Sendable, Equatable, BitwiseCopyable {
    /// How many tokens come in all.
    private(set) var tokens = 0
    /// How many of them have come.
    private var arrived = 0
    private var rateMicrotokensPerMillisecond: Int64 = 0
    private var startedAt = Instant(nanoseconds: 0)
    private(set) var milliseconds: Int64 = 0

    /// No pace.
    init() {}

    init(tokens: Int, milliseconds: Int64, startedAt: Instant) {
        guard tokens > 0, milliseconds > 0 else { return }
        self.tokens = tokens
        self.milliseconds = milliseconds
        self.startedAt = startedAt
        rateMicrotokensPerMillisecond = Int64(tokens) &* Limit.microtokensPerToken / milliseconds
    }

    var tokensPerSecond: Double { Double(rateMicrotokensPerMillisecond) / 1000 }

    /// How many tokens are still to come.
    var coming: Int { tokens &- arrived }

    /// Takes in the tokens that have come since the last call, and says how many.
    mutating func arrive(settings: LeaseSettings, now: Instant) -> Int {
        // The store counts in milliseconds of its own, which may have begun one later.
        let elapsed = max(0, settings.certainMilliseconds(from: startedAt, to: now) &- 1)
        let all =
            elapsed >= milliseconds
            ? tokens : Int(rateMicrotokensPerMillisecond &* elapsed / Limit.microtokensPerToken)
        let gained = max(0, all &- arrived)
        arrived &+= gained
        return gained
    }

    /// Milliseconds until `count` more tokens have come; nil where so many do not come.
    func millisecondsUntil(_ count: Int, now: Instant) -> Int64? {
        guard count <= coming, rateMicrotokensPerMillisecond > 0 else { return nil }
        let whole = Int64(arrived &+ count) &* Limit.microtokensPerToken
        let due = (whole - 1) / rateMicrotokensPerMillisecond + 1
        return max(0, due - (now.milliseconds - startedAt.milliseconds))
    }
}
