/// Tokens that come one after the other: a part of what flows into the bucket, promised in advance.
///
/// They are counted from when the promise arrived, which is later than when the store made it, and on a clock taken to
/// be as slow as it may be, so that none is spent here before it has flowed into the bucket there.
///
/// Times are counted from the end of the lease that it comes with, in milliseconds, which is all that they are compared in.
struct TrickleGrant: Sendable, Equatable, BitwiseCopyable {
    /// How long a pace may last, in milliseconds; no lease lasts longer.
    static let longestMilliseconds = Int64(UInt16.max)

    private var allTokens: UInt32 = 0
    private var arrivedTokens: UInt32 = 0
    /// How long before the lease's end it began.
    private var startMilliseconds: UInt16 = 0
    private var lengthMilliseconds: UInt16 = 0

    /// No pace.
    init() {}

    /// - Parameter milliseconds: how long it takes, at most ``longestMilliseconds``.
    init(tokens: Int, milliseconds: Int64, startedAt: Instant, leaseEnd: Instant) {
        guard tokens > 0, 1...Self.longestMilliseconds ~= milliseconds else { return }
        allTokens = UInt32(clamping: tokens)
        // A lease that lasted longer than that would have its pace begin later, and never sooner.
        startMilliseconds = UInt16(clamping: leaseEnd.milliseconds - startedAt.milliseconds)
        lengthMilliseconds = UInt16(clamping: milliseconds)
    }

    /// How many tokens come in all.
    var tokens: Int { Int(allTokens) }

    private var rateMicrotokensPerMillisecond: Int64 {
        lengthMilliseconds == 0 ? 0 : Int64(allTokens) &* Limit.microtokensPerToken / Int64(lengthMilliseconds)
    }

    var tokensPerSecond: Double { Double(rateMicrotokensPerMillisecond) / 1000 }

    /// How many tokens are still to come.
    var remaining: Int { Int(allTokens &- arrivedTokens) }

    private func start(leaseEnd: Instant) -> Instant {
        Instant(milliseconds: leaseEnd.milliseconds - Int64(startMilliseconds))
    }

    /// Takes in the tokens that have come since the last call, and says how many.
    mutating func arrive(leaseEnd: Instant, clockDriftPerMille: Int64, now: Instant) -> Int {
        let certain = LeaseSettings.certainMilliseconds(
            from: start(leaseEnd: leaseEnd), to: now, clockDriftPerMille: clockDriftPerMille)
        // The store counts in milliseconds of its own, which may have begun one later.
        let elapsed = max(0, certain &- 1)
        let all =
            elapsed >= Int64(lengthMilliseconds)
            ? tokens : Int(rateMicrotokensPerMillisecond &* elapsed / Limit.microtokensPerToken)
        let gained = max(0, all &- Int(arrivedTokens))
        arrivedTokens &+= UInt32(truncatingIfNeeded: gained)
        return gained
    }

    /// Milliseconds until `count` more tokens have come; nil where so many do not come.
    func millisecondsUntil(_ count: Int, leaseEnd: Instant, clockDriftPerMille: Int64, now: Instant) -> Int64? {
        let rate = rateMicrotokensPerMillisecond
        guard count <= remaining, rate > 0 else { return nil }
        let whole = Int64(Int(arrivedTokens) &+ count) &* Limit.microtokensPerToken
        let due = LeaseSettings.surelyLater((whole - 1) / rate + 1, clockDriftPerMille: clockDriftPerMille)
        return max(0, due - (now.milliseconds - start(leaseEnd: leaseEnd).milliseconds))
    }
}
