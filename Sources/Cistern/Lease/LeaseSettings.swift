/// How much to lease, and for how long.
public struct LeaseSettings: Sendable, Equatable {
    /// The longest duration of a lease, in milliseconds.
    package static let longestMilliseconds: Int64 = 60_000

    /// How long a lease lasts, in milliseconds.
    ///
    /// Longer: a server that falls silent strands its tokens for longer. Shorter: an organization that pauses loses the
    /// tokens it had leased sooner. 100 to 60,000.
    public var durationMilliseconds: Int64 = 2000
    /// How much demand one lease is to cover, in milliseconds.
    ///
    /// Longer: fewer store calls, more tokens held by servers that may not need them. 10 to 10,000, and at most half
    /// the duration.
    public var horizonMilliseconds: Int64 = 250
    /// Where demand over the horizon is below this many tokens, nothing is leased ahead: each shortage asks for just
    /// what it needs.
    ///
    /// Higher: more organizations are exact, at a store call for each shortage. 1 to 1,000,000.
    public var minimumTokens = 5
    /// How long before it would run dry a lease is renewed, in milliseconds.
    ///
    /// Longer: fewer requests wait for the store, and each lease is used for less of its time. It should cover the
    /// round trip to the store. 0 to half the horizon; 0 renews only when a request finds nothing.
    public var prefetchMilliseconds: Int64 = 20
    /// How long an organization may be silent before its tokens go back to the store, in milliseconds.
    ///
    /// Longer: fewer store calls for organizations that come and go. Shorter: tokens are sooner where they are needed.
    /// 10 to 60,000; as long as the duration or longer, tokens lapse instead.
    public var idleMilliseconds: Int64 = 250
    /// How many horizons at once a server may lease that is the only one to ask.
    ///
    /// Higher: fewer store calls; a second server waits longer for its share. 1 to 8.
    public var soloMultiplier = 2
    /// How quickly the average that stands for demand takes in a rise, in milliseconds.
    ///
    /// Shorter: fewer store calls at the start of a burst, more tokens leased for what was none. 1 to 10,000.
    public var demandRiseMilliseconds: Int64 = 200
    /// How quickly it takes in a fall, in milliseconds.
    ///
    /// Longer: a pause costs no store calls when it ends, and shares of the balance follow demand more slowly. 1 to
    /// 60,000.
    public var demandFallMilliseconds: Int64 = 250
    /// How much faster or slower than the store's clock this server's may run, in thousandths.
    ///
    /// The lessee lets its lease lapse earlier by this share, and its paces run more slowly. 0 to 200.
    public var clockDriftPerMille: Int64 = 20
    /// How long one request waits for the store before the failure policy decides, in milliseconds.
    public var timeoutMilliseconds: Int64 = 100

    /// The settings that suit most services.
    public init() {}

    /// The times that must go together.
    package enum Time: String, Sendable {
        case horizon
        case duration
        case prefetch
        case timeout
    }

    /// The first two times that do not go together, since one is over half of the other; nil where all do.
    package var conflict: (time: Time, milliseconds: Int64, bound: Time, boundMilliseconds: Int64)? {
        let pairs: [(time: Time, milliseconds: Int64, bound: Time, boundMilliseconds: Int64)] = [
            (.horizon, horizonMilliseconds, .duration, durationMilliseconds),
            (.prefetch, prefetchMilliseconds, .horizon, horizonMilliseconds),
            (.timeout, timeoutMilliseconds, .duration, durationMilliseconds),
        ]
        return pairs.first { $0.milliseconds * 2 > $0.boundMilliseconds }
    }

    /// How long a pace lasts at most, in milliseconds: the horizons of a lessee that is alone, and half a lease.
    var longestTrickleMilliseconds: Int64 {
        min(horizonMilliseconds * Int64(soloMultiplier), durationMilliseconds / 2, TrickleGrant.longestMilliseconds)
    }

    /// How long an organization is silent before a look is taken whether it still is, in milliseconds.
    var idleCheckMilliseconds: Int64 { min(idleMilliseconds, IdleCheck.longestMilliseconds) }

    /// When a lease asked for at `sentAt` lapses at the lessee: before it can lapse at the store.
    func expiry(sentAt: Instant) -> Instant {
        sentAt.advanced(byMilliseconds: durationMilliseconds, lessDriftPerMille: clockDriftPerMille)
    }

    /// From the end of a lease back to when it was asked for; below 0.
    var sentBeforeExpiryMilliseconds: Int64 {
        (durationMilliseconds * clockDriftPerMille + 999) / 1000 - durationMilliseconds
    }

    /// How long to wait on this server's clock until so many milliseconds have surely passed on every other.
    func surely(_ milliseconds: Int64) -> Int64 {
        // From the slowest clock to the fastest: twice the drift from the store's.
        let slow = (milliseconds * (1000 + clockDriftPerMille) + 999) / 1000
        return (slow * 1000 + 999 - clockDriftPerMille) / (1000 - clockDriftPerMille)
    }

    /// How long to wait on a clock that may be fast until so many milliseconds have passed on the store's, whatever was
    /// rounded on the way.
    static func surelyLater(_ milliseconds: Int64, clockDriftPerMille drift: Int64) -> Int64 {
        let (product, overflows) = (milliseconds &+ 2).multipliedReportingOverflow(by: 1000)
        return overflows ? milliseconds : (product &+ 999 &- drift) / (1000 - drift)
    }

    /// How many milliseconds have surely passed on the store's clock between two instants of this server's.
    func certainMilliseconds(from start: Instant, to end: Instant) -> Int64 {
        Self.certainMilliseconds(from: start, to: end, clockDriftPerMille: clockDriftPerMille)
    }

    /// The same for a clock that may run faster or slower than the store's by so many thousandths.
    static func certainMilliseconds(from start: Instant, to end: Instant, clockDriftPerMille: Int64) -> Int64 {
        let elapsed = max(0, end.milliseconds - start.milliseconds)
        // Rounding each instant down to its millisecond may have added one; no bound is needed beyond a day.
        return max(0, min(elapsed, 86_400_000) * (1000 - clockDriftPerMille) / 1000 - 1)
    }
}

extension Instant {
    /// The instant that is so many milliseconds later, or sooner by what a clock may run slow: no later than it comes for
    /// whoever counts them on another clock.
    package func advanced(byMilliseconds milliseconds: Int64, lessDriftPerMille drift: Int64) -> Instant {
        advanced(byMilliseconds: milliseconds - (milliseconds * drift + 999) / 1000)
    }
}
