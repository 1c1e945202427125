/// One organization's bucket while its node is out of reach: this server's part of it, and no more.
///
/// All parts together admit what one bucket would. They begin empty and get no refill until no trickle grant from
/// before the loss can go on. Until leases from before have lapsed, the parts hold half of the capacity. See
/// Architecture.md.
struct LocalBucket: Sendable {
    let partition: PartitionID
    let fraction: LocalFraction
    /// From when on there is refill.
    private let refillsFrom: Instant
    /// A bucket of the whole limit, from which a request takes its cost divided by the part.
    ///
    /// Its time is counted from ``refillsFrom`` on the slowest clock that there may be.
    private var bucket = TokenBucket(microtokens: 0, asOfMilliseconds: 0)

    /// The bucket of an organization that was last served here, in any way, at `spentAt`.
    ///
    /// One that was forgotten meanwhile may have had its tokens already.
    init(partition: PartitionID, fraction: LocalFraction, spentAt: Instant, settings: LeaseSettings) {
        self.partition = partition
        self.fraction = LocalFraction(
            millionths: min(max(1, fraction.millionths), 1_000_000), lostAt: fraction.lostAt)
        // A lessee counts its trickle grant from when the answer came, and takes its own clock for a slow one.
        let grantsEndAt = fraction.lostAt.advanced(
            byMilliseconds: settings.surely(settings.longestTrickleMilliseconds + 2) + settings.timeoutMilliseconds)
        refillsFrom = max(grantsEndAt, spentAt)
    }

    /// Decides, and takes the cost; what this part can never pay is refused.
    mutating func decide(_ limit: Limit, costMicrotokens: Int64, settings: LeaseSettings, now: Instant) -> Decision {
        let price = price(of: costMicrotokens)
        // A part of less than a token waits until it has flowed in: n servers admit at most max(C, n) + R·t.
        let ceiling = max(limit.capacityMicrotokens, self.price(of: Limit.microtokensPerToken))
        guard price <= ceiling else { return .refused(limit, at: now) }
        let leasesEndAt = fraction.lostAt.advanced(byMilliseconds: settings.surely(settings.durationMilliseconds))
        // As many tokens as leases from before leave: they hold half of the capacity at most, in whole tokens.
        let earlyCeiling = limit.capacityMicrotokens - Int64(limit.capacity / 2) * Limit.microtokensPerToken
        bucket.refill(
            limit, ceilingMicrotokens: earlyCeiling, nowMilliseconds: elapsed(until: min(now, leasesEndAt), settings))
        if now > leasesEndAt {
            bucket.refill(limit, ceilingMicrotokens: ceiling, nowMilliseconds: elapsed(until: now, settings))
        }
        let isAllowed = bucket.take(price)
        let balance = min(limit.capacityMicrotokens, share(of: bucket.microtokens))
        if isAllowed { return .allowed(limit, balanceMicrotokens: balance, at: now) }
        var start = bucket
        if price > earlyCeiling, now < leasesEndAt {
            start.refill(
                limit, ceilingMicrotokens: earlyCeiling, nowMilliseconds: elapsed(until: leasesEndAt, settings))
        }
        let due = start.asOfMilliseconds + limit.millisecondsToGain(price - start.microtokens)
        let retryAt = instant(at: due, settings)
        return .denied(
            limit, balanceMicrotokens: balance,
            retryAfterMilliseconds: (price > earlyCeiling ? max(retryAt, leasesEndAt) : retryAt).milliseconds
                - now.milliseconds, at: now)
    }

    /// How many servers have equal parts; nil where the part is no whole fraction.
    private var servers: Int64? {
        let count = 1_000_000 / fraction.millionths
        return 1_000_000 / count == fraction.millionths ? count : nil
    }

    /// What a cost takes out of a bucket of the whole limit.
    private func price(of costMicrotokens: Int64) -> Int64 {
        if let servers { return Int64(clamping: Int128(costMicrotokens) * Int128(servers)) }
        let millionths = Int128(fraction.millionths)
        return Int64(clamping: (Int128(costMicrotokens) * 1_000_000 + millionths - 1) / millionths)
    }

    private func share(of microtokens: Int64) -> Int64 {
        servers.map { microtokens / $0 } ?? Int64(Int128(microtokens) * Int128(fraction.millionths) / 1_000_000)
    }

    /// Milliseconds of refill until an instant, less what this server's clock may run too fast.
    private func elapsed(until now: Instant, _ settings: LeaseSettings) -> Int64 {
        let elapsed = Int128(max(0, now.milliseconds - refillsFrom.milliseconds))
        return Int64(elapsed * Int128(1000 - settings.clockDriftPerMille) / 1000)
    }

    /// When so many milliseconds of refill are over.
    private func instant(at elapsed: Int64, _ settings: LeaseSettings) -> Instant {
        let certain = 1000 - settings.clockDriftPerMille
        return Instant(milliseconds: refillsFrom.milliseconds + (elapsed * 1000 + certain - 1) / certain)
    }
}
