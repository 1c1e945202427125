/// One organisation's bucket while its node is out of reach: this server's part of it, and no more.
///
/// All servers' parts together admit what one bucket would. They begin empty, since what was in the store's bucket is out
/// of reach for everybody, and once no pace from before the loss can go on: until then the inflow has been promised. Then
/// what flows in is shared. For as long as leases from before may be alive, of which at most half of the capacity is
/// unspent, the parts hold half of the capacity at most: together C. After that they hold all of it. The part is taken
/// by making requests dearer: a bucket of the whole limit from which a request takes its cost divided by the part, so
/// that slow refills lose nothing to rounding.
struct LocalBucket: Sendable {
    let home: BucketHome
    let share: LocalShare
    private var bucket: TokenBucket

    /// The bucket of an organisation that was last served here, in any way, at `spentAt`.
    ///
    /// One that was forgotten meanwhile may have had its tokens already.
    init(home: BucketHome, share: LocalShare, spentAt: Instant, settings: LeaseSettings) {
        self.home = home
        self.share = share
        // A lessee counts its pace from when the answer came, and takes its own clock for a slow one.
        let pacesEndAt = share.lostAt.advanced(
            byMilliseconds: settings.surely(settings.longestPaceMilliseconds + 2) + settings.timeoutMilliseconds)
        bucket = TokenBucket(microtokens: 0, asOfMilliseconds: max(pacesEndAt, spentAt).milliseconds)
    }

    /// Decides, and takes the cost; what this part can never pay is refused.
    mutating func decide(_ limit: Limit, costMicrotokens: Int64, settings: LeaseSettings, now: Instant) -> Decision {
        let leasesEndAt = share.lostAt.advanced(byMilliseconds: settings.surely(settings.durationMilliseconds))
        let ceiling = now < leasesEndAt ? limit.capacityMicrotokens / 2 : limit.capacityMicrotokens
        bucket.refill(limit, ceilingMicrotokens: ceiling, nowMilliseconds: now.milliseconds)
        let parts = millionths(settings)
        let price = Int64(clamping: (Int128(costMicrotokens) * 1_000_000 + parts - 1) / parts)
        guard price <= limit.capacityMicrotokens else { return .refused(limit, at: now) }
        let isAllowed = bucket.take(price)
        let balance = Int64(Int128(bucket.microtokens) * parts / 1_000_000)
        if isAllowed { return .allowed(limit, balanceMicrotokens: balance, at: now) }
        let start = max(0, bucket.asOfMilliseconds - now.milliseconds)
        return .denied(
            limit, balanceMicrotokens: balance,
            retryAfterMilliseconds: start + limit.millisecondsToGain(price - bucket.microtokens), at: now)
    }

    /// The part in millionths, less what this server's clock may run too fast.
    private func millionths(_ settings: LeaseSettings) -> Int128 {
        max(1, Int128(share.millionths) * Int128(1000 - settings.clockDriftPerMille) / 1000)
    }
}
