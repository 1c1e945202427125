extension LeaseSettings {
    /// The settings for a key that this many servers lease: with many, a longer horizon and duration.
    ///
    /// The horizon is long enough for ``callsPerSecond``, if each lessee asks once per horizon; but at most half of the
    /// longest duration. It is also at most the time in which 0.4 of the capacity flows in: all leases together never
    /// hold more than half of the capacity.
    package func scaled(forLessees lessees: Int, of limit: Limit) -> LeaseSettings {
        let longestDuration = Field.leaseDuration.range.upperBound
        let wanted = Int64(lessees) &* 1000 / Int64(callsPerSecond)
        guard wanted > horizonMilliseconds else { return self }
        let affordable = Int64(min(0.4 * Double(limit.capacity) * 1000 / limit.refillPerSecond, 1e9))
        let horizon = min(wanted, affordable, longestDuration / 2)
        guard horizon > horizonMilliseconds else { return self }
        var settings = self
        settings.horizonMilliseconds = horizon
        settings.durationMilliseconds = max(durationMilliseconds, min(2 * horizon, longestDuration))
        return settings
    }

    /// The longest trickle grant, in milliseconds: the horizon times the solo multiplier, and at most half a lease.
    var longestTrickleMilliseconds: Int64 {
        min(horizonMilliseconds * Int64(soloMultiplier), durationMilliseconds / 2, TrickleGrant.longestMilliseconds)
    }

    /// When a trickle grant ends at the latest, in milliseconds from the grant.
    ///
    /// Among several lessees it ends with a slot, up to 1/32 after the horizon.
    var latestTrickleEndMilliseconds: Int64 { max(longestTrickleMilliseconds, horizonMilliseconds * 33 / 32) }

    /// The interval between sweeps: short enough that an idle key's tokens are returned soon after ``idle``.
    package var sweepMilliseconds: Int64 { max(10, min(100, idleMilliseconds / 4)) }

    /// The interval between readings of the overrides, so that they are in force within a lease duration.
    package var overrideMilliseconds: Int64 { min(500, durationMilliseconds / 4) }

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
