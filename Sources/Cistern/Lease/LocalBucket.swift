/// This server's fraction of one key's bucket, while the key's node is unreachable.
///
/// The local buckets of all servers together admit no more than one bucket would. They begin empty, and get no refill
/// until every trickle grant from before the loss must have ended. Until the leases from before the loss must have
/// expired, they hold at most half of the capacity. See Architecture.md.
struct LocalBucket: Sendable {
    let partition: PartitionID
    let fraction: LocalFraction
    /// When the refill begins.
    private let refillStartsAt: Instant
    /// A bucket with the whole limit, from which a request takes its cost divided by the fraction.
    ///
    /// Its time counts from ``refillStartsAt``, at the rate of the slowest possible clock.
    private var bucket = TokenBucket(units: 0, asOfMilliseconds: 0)

    /// Creates the empty bucket of a key whose last token was spent here at `spentAt`, leased or not.
    ///
    /// The refill begins no earlier than `spentAt`: a previous, forgotten bucket may have spent the refill until then.
    init(_ limit: Limit, partition: PartitionID, fraction: LocalFraction, spentAt: Instant, settings: LeaseSettings) {
        self.partition = partition
        self.fraction = LocalFraction(
            millionths: min(max(1, fraction.millionths), 1_000_000), lostAt: fraction.lostAt)
        // Other servers may have longer leases if there are many of them; a restarted one counts twice.
        let settings = settings.scaled(forLessees: self.fraction.lessees, of: limit)
        // A lessee counts its trickle grant from the arrival of the reply, at the rate of the slowest possible clock.
        let grantsEndAt = fraction.lostAt.advanced(
            byMilliseconds: settings.localMilliseconds(settings.latestTrickleEndMilliseconds + 2)
                + settings.timeoutMilliseconds)
        refillStartsAt = max(grantsEndAt, spentAt)
    }

    /// Decides a request and takes its cost; a cost that this fraction can never pay is refused.
    mutating func decide(_ limit: Limit, costUnits: Int64, settings: LeaseSettings, now: Instant) -> Decision {
        let scaledCost = scaledCost(of: costUnits)
        // A fraction below one token still collects a whole one: n servers admit at most max(C, n) + R·t.
        let ceiling = max(limit.capacityUnits, self.scaledCost(of: limit.unitsPerToken))
        guard scaledCost <= ceiling else { return .refused(limit, at: now) }
        let settings = settings.scaled(forLessees: fraction.lessees, of: limit)
        let leasesEndAt = fraction.lostAt.advanced(
            byMilliseconds: settings.localMilliseconds(settings.durationMilliseconds))
        // Leases from before the loss may hold half of the capacity, in whole tokens; this is the rest of the capacity.
        let earlyCeiling = limit.capacityUnits - limit.units(of: limit.capacity / 2)
        bucket.refill(
            limit, ceilingUnits: earlyCeiling, nowMilliseconds: elapsed(until: min(now, leasesEndAt), settings))
        if now > leasesEndAt {
            bucket.refill(limit, ceilingUnits: ceiling, nowMilliseconds: elapsed(until: now, settings))
        }
        let isAllowed = bucket.take(scaledCost)
        let balance = min(limit.capacityUnits, share(of: bucket.units))
        if isAllowed { return .allowed(limit, balanceUnits: balance, at: now) }
        var start = bucket
        if scaledCost > earlyCeiling, now < leasesEndAt {
            start.refill(
                limit, ceilingUnits: earlyCeiling, nowMilliseconds: elapsed(until: leasesEndAt, settings))
        }
        let due = start.asOfMilliseconds + limit.millisecondsToGain(scaledCost - start.units)
        let retryAt = instant(at: due, settings)
        return .denied(
            limit, balanceUnits: balance,
            retryAfterMilliseconds: (scaledCost > earlyCeiling ? max(retryAt, leasesEndAt) : retryAt).milliseconds
                - now.milliseconds, at: now)
    }

    /// The number of servers if all have the same fraction, 1/n; nil if the fraction is not of that form.
    private var servers: Int64? {
        let count = 1_000_000 / fraction.millionths
        return 1_000_000 / count == fraction.millionths ? count : nil
    }

    /// The cost divided by the fraction: what a request takes from the bucket with the whole limit.
    private func scaledCost(of costUnits: Int64) -> Int64 {
        if let servers { return Int64(clamping: Int128(costUnits) * Int128(servers)) }
        let millionths = Int128(fraction.millionths)
        return Int64(clamping: (Int128(costUnits) * 1_000_000 + millionths - 1) / millionths)
    }

    private func share(of units: Int64) -> Int64 {
        servers.map { units / $0 } ?? Int64(Int128(units) * Int128(fraction.millionths) / 1_000_000)
    }

    /// Milliseconds of refill up to an instant, less the amount by which this server's clock may run fast.
    private func elapsed(until now: Instant, _ settings: LeaseSettings) -> Int64 {
        let elapsed = Int128(max(0, now.milliseconds - refillStartsAt.milliseconds))
        return Int64(elapsed * Int128(1000 - settings.clockDriftPerMille) / 1000)
    }

    /// The instant at which `elapsed` milliseconds of refill have passed.
    private func instant(at elapsed: Int64, _ settings: LeaseSettings) -> Instant {
        let certain = 1000 - settings.clockDriftPerMille
        return Instant(milliseconds: refillStartsAt.milliseconds + (elapsed * 1000 + certain - 1) / certain)
    }
}
