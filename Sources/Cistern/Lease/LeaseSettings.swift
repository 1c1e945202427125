/// How much to lease, and for how long.
///
/// Times have whole milliseconds; fractions are dropped. Any value can be stored; ``validate()`` rejects those outside
/// their range. Errors and configurations name them `leaseDuration`, `leaseHorizon`, `leaseMinimum`, `leasePrefetch`,
/// `leaseIdle`, `leaseAlone` (the solo multiplier), `leaseCallsPerSecond`, `leaseDemandRise`, `leaseDemandFall`,
/// `clockDrift` and `storeTimeout`.
public struct LeaseSettings: Sendable, Equatable {
    package var durationMilliseconds: Int64 = 2000
    package var horizonMilliseconds: Int64 = 250
    package var prefetchMilliseconds: Int64 = 20
    package var idleMilliseconds: Int64 = 250
    package var demandRiseMilliseconds: Int64 = 200
    package var demandFallMilliseconds: Int64 = 250
    package var timeoutMilliseconds: Int64 = 100

    /// How long a lease lasts, 100 ms to 60 s.
    ///
    /// If it is longer, a silent server strands its tokens for longer. If it is shorter, a key that pauses loses its
    /// leased tokens sooner.
    public var duration: Duration {
        get { .milliseconds(durationMilliseconds) }
        set { durationMilliseconds = newValue.wholeMilliseconds }
    }
    /// How much demand one lease covers: 10 ms to 10 s, and at most half the duration.
    ///
    /// A longer horizon means fewer store calls, but more tokens at servers that may not need them.
    public var horizon: Duration {
        get { .milliseconds(horizonMilliseconds) }
        set { horizonMilliseconds = newValue.wholeMilliseconds }
    }
    /// The minimum demand over the horizon for leasing in advance, in tokens, 1 to 1,000,000.
    ///
    /// Below this demand, only the tokens that waiting requests need are leased. A higher minimum meters more keys
    /// exactly, but costs a store call per shortage.
    public var minimumDemandTokens = 5
    /// How long before running dry a lease is renewed: 0 to 5 s, and at most half the horizon.
    ///
    /// It should cover the round trip to the store. With a longer time fewer requests wait, but each lease is used
    /// for less of its time. 0 renews a lease only when a request finds too few tokens.
    public var prefetch: Duration {
        get { .milliseconds(prefetchMilliseconds) }
        set { prefetchMilliseconds = newValue.wholeMilliseconds }
    }
    /// How long a key may be idle before its tokens are returned to the store, 10 ms to 60 s.
    ///
    /// A longer time saves store calls for keys with intermittent traffic. A shorter time frees tokens sooner for
    /// servers that need them. If it is at least the duration, tokens expire instead.
    public var idle: Duration {
        get { .milliseconds(idleMilliseconds) }
        set { idleMilliseconds = newValue.wholeMilliseconds }
    }
    /// Solo multiplier: how many horizons a server may lease at once while it is the only lessee, 1 to 8.
    ///
    /// A higher number means fewer store calls, but a second server waits longer for its part.
    public var soloMultiplier = 2
    /// The time constant of the demand average while demand rises, 1 ms to 10 s.
    ///
    /// A shorter time means fewer store calls at the start of a burst, but more tokens leased for bursts that do not
    /// last.
    public var demandRise: Duration {
        get { .milliseconds(demandRiseMilliseconds) }
        set { demandRiseMilliseconds = newValue.wholeMilliseconds }
    }
    /// The time constant of the demand average while demand falls, 1 ms to 60 s.
    ///
    /// A longer time means fewer store calls when a pause ends, but each server's part of a bucket follows demand more
    /// slowly.
    public var demandFall: Duration {
        get { .milliseconds(demandFallMilliseconds) }
        set { demandFallMilliseconds = newValue.wholeMilliseconds }
    }
    /// How much faster or slower than the store's clock this server's clock may run, in thousandths, 0 to 200.
    ///
    /// This server lets its leases expire earlier by this fraction, and slows its trickle grants by the same fraction.
    public var clockDriftPerMille: Int64 = 20
    /// How long one request waits for the store before the failure policy decides: 5 ms to 10 s, and at most half the
    /// duration.
    public var timeout: Duration {
        get { .milliseconds(timeoutMilliseconds) }
        set { timeoutMilliseconds = newValue.wholeMilliseconds }
    }

    /// How many store calls a second the servers together make for one key, 1 to 1,000,000.
    ///
    /// With more than ``callsPerSecond`` times ``horizon`` servers, horizon and duration grow with the number of
    /// servers that lease the key, until all leases together hold 0.4 of the capacity. A lower number spares the store,
    /// but tokens follow demand more slowly.
    public var callsPerSecond = 200

    /// Creates the default settings, which suit most services.
    public init() {}

    /// Checks every setting.
    ///
    /// - Throws: ``InvalidSetting`` for the first value outside its range, or for times that contradict each other.
    public func validate() throws(InvalidSetting) {
        for field in Field.allCases where !(field.range ~= self[field]) {
            let (least, most) = (field.text(field.range.lowerBound), field.text(field.range.upperBound))
            throw InvalidSetting(
                name: field.rawValue, value: field.text(self[field]), remedy: "use a value from \(least) to \(most)")
        }
        if let conflict {
            let bound = conflict.bound
            throw InvalidSetting(
                name: conflict.field.rawValue, value: conflict.field.text(self[conflict.field]),
                remedy: "use at most half of \(bound.rawValue), which is \(bound.text(self[bound]))")
        }
    }

    /// The first conflicting pair of times, where `field` is more than half of `bound`; nil if there is none.
    package var conflict: (field: Field, bound: Field)? {
        let pairs: [(field: Field, bound: Field)] = [
            (.leaseHorizon, .leaseDuration), (.leasePrefetch, .leaseHorizon), (.storeTimeout, .leaseDuration),
        ]
        return pairs.first { self[$0.field] &* 2 > self[$0.bound] }
    }

    /// The same settings, each moved into its range.
    var bounded: LeaseSettings {
        var settings = self
        for field in Field.allCases { settings[field] = field.range.nearest(to: self[field]) }
        return settings
    }
}
