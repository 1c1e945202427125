/// How much to lease, and for how long.
///
/// A value outside its range (``Ranges``) is replaced by the nearest one inside.
public struct LeaseSettings: Sendable, Equatable {
    /// The ranges of the settings; times are in milliseconds.
    public enum Ranges {
        /// Of ``LeaseSettings/durationMilliseconds``.
        public static let duration: ClosedRange<Int64> = 100...60_000
        /// Of ``LeaseSettings/horizonMilliseconds``.
        public static let horizon: ClosedRange<Int64> = 10...10_000
        /// Of ``LeaseSettings/minimumDemandTokens``.
        public static let minimumDemandTokens = 1...1_000_000
        /// Of ``LeaseSettings/prefetchMilliseconds``.
        public static let prefetch: ClosedRange<Int64> = 0...5000
        /// Of ``LeaseSettings/idleMilliseconds``.
        public static let idle: ClosedRange<Int64> = 10...60_000
        /// Of ``LeaseSettings/soloMultiplier``.
        public static let soloMultiplier = 1...8
        /// Of ``LeaseSettings/demandRiseMilliseconds``.
        public static let demandRise: ClosedRange<Int64> = 1...10_000
        /// Of ``LeaseSettings/demandFallMilliseconds``.
        public static let demandFall: ClosedRange<Int64> = 1...60_000
        /// Of ``LeaseSettings/clockDriftPerMille``.
        public static let clockDrift: ClosedRange<Int64> = 0...200
        /// Of ``LeaseSettings/timeoutMilliseconds``.
        public static let timeout: ClosedRange<Int64> = 5...10_000
    }

    /// The duration of a lease, in milliseconds, 100 to 60,000.
    ///
    /// If it is longer, a silent server strands its tokens for longer. If it is shorter, a key that pauses loses its
    /// leased tokens sooner.
    public var durationMilliseconds: Int64 = 2000 {
        didSet { durationMilliseconds = Ranges.duration.nearest(to: durationMilliseconds) }
    }
    /// How much demand one lease covers, in milliseconds: 10 to 10,000, and at most half the duration.
    ///
    /// A longer horizon means fewer store calls, but more tokens at servers that may not need them.
    public var horizonMilliseconds: Int64 = 250 {
        didSet { horizonMilliseconds = Ranges.horizon.nearest(to: horizonMilliseconds) }
    }
    /// The minimum demand over the horizon for leasing in advance, in tokens, 1 to 1,000,000.
    ///
    /// Below this demand, only the tokens that waiting requests need are leased. A higher minimum meters more keys
    /// exactly, but costs a store call per shortage.
    public var minimumDemandTokens = 5 {
        didSet { minimumDemandTokens = Ranges.minimumDemandTokens.nearest(to: minimumDemandTokens) }
    }
    /// How long before running dry a lease is renewed, in milliseconds: 0 to half the horizon.
    ///
    /// It should cover the round trip to the store. With a longer time fewer requests wait, but each lease is used
    /// for less of its time. 0 renews a lease only when a request finds too few tokens.
    public var prefetchMilliseconds: Int64 = 20 {
        didSet { prefetchMilliseconds = Ranges.prefetch.nearest(to: prefetchMilliseconds) }
    }
    /// How long a key may be idle before its tokens are returned to the store, in milliseconds, 10 to 60,000.
    ///
    /// A longer time saves store calls for keys with intermittent traffic. A shorter time frees tokens sooner for
    /// servers that need them. If it is at least the duration, tokens expire instead.
    public var idleMilliseconds: Int64 = 250 {
        didSet { idleMilliseconds = Ranges.idle.nearest(to: idleMilliseconds) }
    }
    /// Solo multiplier: how many horizons a server may lease at once while it is the only lessee, 1 to 8.
    ///
    /// A higher number means fewer store calls, but a second server waits longer for its part.
    public var soloMultiplier = 2 {
        didSet { soloMultiplier = Ranges.soloMultiplier.nearest(to: soloMultiplier) }
    }
    /// The time constant of the demand average while demand rises, in milliseconds, 1 to 10,000.
    ///
    /// A shorter time means fewer store calls at the start of a burst, but more tokens leased for bursts that do not
    /// last.
    public var demandRiseMilliseconds: Int64 = 200 {
        didSet { demandRiseMilliseconds = Ranges.demandRise.nearest(to: demandRiseMilliseconds) }
    }
    /// The time constant of the demand average while demand falls, in milliseconds, 1 to 60,000.
    ///
    /// A longer time means fewer store calls when a pause ends, but each server's part of a bucket follows demand more
    /// slowly.
    public var demandFallMilliseconds: Int64 = 250 {
        didSet { demandFallMilliseconds = Ranges.demandFall.nearest(to: demandFallMilliseconds) }
    }
    /// How much faster or slower than the store's clock this server's clock may run, in thousandths, 0 to 200.
    ///
    /// This server lets its leases expire earlier by this fraction, and slows its trickle grants by the same fraction.
    public var clockDriftPerMille: Int64 = 20 {
        didSet { clockDriftPerMille = Ranges.clockDrift.nearest(to: clockDriftPerMille) }
    }
    /// How long one request waits for the store before the failure policy decides, in milliseconds, 5 to
    /// 10,000.
    public var timeoutMilliseconds: Int64 = 100 {
        didSet { timeoutMilliseconds = Ranges.timeout.nearest(to: timeoutMilliseconds) }
    }

    /// Creates the default settings, which suit most services.
    public init() {}

    /// The times that constrain each other.
    package enum Time: String, Sendable {
        case horizon
        case duration
        case prefetch
        case timeout
    }

    /// The first conflicting pair of times, where `time` is more than half of `bound`; nil if there is none.
    package var conflict: (time: Time, milliseconds: Int64, bound: Time, boundMilliseconds: Int64)? {
        let pairs: [(time: Time, milliseconds: Int64, bound: Time, boundMilliseconds: Int64)] = [
            (.horizon, horizonMilliseconds, .duration, durationMilliseconds),
            (.prefetch, prefetchMilliseconds, .horizon, horizonMilliseconds),
            (.timeout, timeoutMilliseconds, .duration, durationMilliseconds),
        ]
        return pairs.first { $0.milliseconds * 2 > $0.boundMilliseconds }
    }

    /// The longest trickle grant, in milliseconds: the horizon times the solo multiplier, and at most half a lease.
    var longestTrickleMilliseconds: Int64 {
        min(horizonMilliseconds * Int64(soloMultiplier), durationMilliseconds / 2, TrickleGrant.longestMilliseconds)
    }

    /// How long a key may be idle before its idle check is due, in milliseconds.
    var idleCheckMilliseconds: Int64 { min(idleMilliseconds, IdleCheck.longestMilliseconds) }

    /// When a lease requested at `sentAt` expires at the lessee: before it can expire at the store.
    func expiry(sentAt: Instant) -> Instant {
        sentAt.advanced(byMilliseconds: durationMilliseconds, lessDriftPerMille: clockDriftPerMille)
    }

    /// The offset from the expiry of a lease back to the sending of its request, in milliseconds; below 0.
    var sendOffsetFromExpiryMilliseconds: Int64 {
        (durationMilliseconds * clockDriftPerMille + 999) / 1000 - durationMilliseconds
    }

    /// The milliseconds on this server's clock after which `milliseconds` have passed on every other server's clock.
    func localMilliseconds(_ milliseconds: Int64) -> Int64 {
        // This clock may be the fastest and the other the slowest: they drift apart by twice the bound.
        let slow = (milliseconds * (1000 + clockDriftPerMille) + 999) / 1000
        return (slow * 1000 + 999 - clockDriftPerMille) / (1000 - clockDriftPerMille)
    }

    /// The milliseconds on a possibly fast clock after which `milliseconds` have passed on the store's clock.
    ///
    /// It allows for all rounding on the way.
    static func waitMilliseconds(_ milliseconds: Int64, clockDriftPerMille drift: Int64) -> Int64 {
        let (product, overflows) = (milliseconds &+ 2).multipliedReportingOverflow(by: 1000)
        return overflows ? milliseconds : (product &+ 999 &- drift) / (1000 - drift)
    }

    /// The milliseconds that have certainly passed on the store's clock between two instants of this server's clock.
    func minimumStoreMilliseconds(from start: Instant, to end: Instant) -> Int64 {
        Self.minimumStoreMilliseconds(from: start, to: end, clockDriftPerMille: clockDriftPerMille)
    }

    /// The same for a clock that runs faster or slower than the store's by at most `clockDriftPerMille` thousandths.
    static func minimumStoreMilliseconds(from start: Instant, to end: Instant, clockDriftPerMille: Int64) -> Int64 {
        let elapsed = max(0, end.milliseconds - start.milliseconds)
        // Rounding the instants down may have added 1 ms. More than a day is never needed.
        return max(0, min(elapsed, 86_400_000) * (1000 - clockDriftPerMille) / 1000 - 1)
    }
}

extension Instant {
    /// The instant `milliseconds` later, less an allowance for clock drift.
    ///
    /// Even if this clock runs slow, at most `milliseconds` have passed on the other clock by that instant.
    package func advanced(byMilliseconds milliseconds: Int64, lessDriftPerMille drift: Int64) -> Instant {
        advanced(byMilliseconds: milliseconds - (milliseconds * drift + 999) / 1000)
    }
}

extension ClosedRange {
    /// The value itself if it is inside, else the bound next to it.
    fileprivate func nearest(to value: Bound) -> Bound { Swift.min(Swift.max(value, lowerBound), upperBound) }
}
