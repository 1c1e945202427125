/// What the store last said of one organization's bucket, carried on to now.
///
/// It tells when to ask again, never too late but for what others give back; it is no right to spend.
struct StoreBalanceEstimate: Sendable, Equatable, BitwiseCopyable {
    /// In ``microsecondsBeforeLeaseEnd``: it is no denial.
    private static let never = UInt32.max

    /// What the store could grant to this lessee beyond what it has.
    private(set) var openMicrotokens: Int64
    private(set) var inflow: Inflow
    /// Until when it may be taken for a denial, counted back from the end of the lease that came with it.
    private var microsecondsBeforeLeaseEnd: UInt32

    /// Nothing is known, so nothing can be denied.
    init(unknown limit: Limit) {
        openMicrotokens = limit.capacityMicrotokens
        inflow = Inflow(microtokensPerMillisecond: 0, isShared: false)
        microsecondsBeforeLeaseEnd = Self.never
    }

    /// What a grant says.
    ///
    /// It holds for as long as the pace that came with it runs. Without one it holds for a horizon where others have
    /// paces, which they then renew or not, and for as long as the lease where none has: others may give back what
    /// nobody here knows of.
    init(
        _ grant: Grant, sentAt: Instant, limit: Limit, expiresAt: Instant, settings: LeaseSettings, now: Instant
    ) {
        // The store looked at its clock after the request was sent. Counting from then finds the next token too
        // early rather than too late, and too early only means to ask once more.
        openMicrotokens = min(grant.openMicrotokens, limit.capacityMicrotokens)
        let refill = grant.openRefillMicrotokensPerMillisecond
        inflow = Inflow(microtokensPerMillisecond: refill, isShared: grant.trickleTokens > 0)
        let endsAt =
            if grant.trickleTokens > 0 {
                now.advanced(byMilliseconds: grant.trickleMilliseconds)
            } else if refill < limit.refillMicrotokensPerMillisecond {
                sentAt.advanced(byMilliseconds: settings.horizonMilliseconds)
            } else {
                expiresAt
            }
        // Rounded up, so that it ends no later.
        let before = (max(0, expiresAt.nanoseconds - endsAt.nanoseconds) + 999) / 1000
        microsecondsBeforeLeaseEnd = UInt32(clamping: before)
        self.refill(limit, elapsedMilliseconds: now.milliseconds &- sentAt.milliseconds)
    }

    /// Adds what has flowed in meanwhile.
    mutating func refill(_ limit: Limit, elapsedMilliseconds: Int64) {
        var bucket = TokenBucket(microtokens: openMicrotokens, asOfMilliseconds: 0)
        bucket.refill(
            microtokensPerMillisecond: inflow.microtokensPerMillisecond, ceilingMicrotokens: limit.capacityMicrotokens,
            nowMilliseconds: elapsedMilliseconds)
        openMicrotokens = bucket.microtokens
    }

    private func endsAt(leaseEnd: Instant) -> Instant {
        guard microsecondsBeforeLeaseEnd != Self.never else { return Instant(nanoseconds: 0) }
        return Instant(nanoseconds: leaseEnd.nanoseconds - Int64(microsecondsBeforeLeaseEnd) * 1000)
    }

    /// Whether the store has said that it cannot pay this much yet.
    func forbids(_ microtokens: Int64, leaseEnd: Instant, now: Instant) -> Bool {
        now < endsAt(leaseEnd: leaseEnd) && (inflow.isShared || openMicrotokens < microtokens)
    }

    /// Milliseconds until the store could pay this much, or until it is worth asking.
    func millisecondsUntil(_ microtokens: Int64, limit: Limit, leaseEnd: Instant, now: Instant) -> Int64 {
        let missing = microtokens - openMicrotokens
        let endsAt = endsAt(leaseEnd: leaseEnd)
        if inflow.isShared {
            // Until then the refill is promised, to this lessee among others.
            let others = max(0, missing) > 0 ? limit.millisecondsToGain(missing) : 0
            return max(1, endsAt.milliseconds - now.milliseconds) &+ others
        }
        if missing <= 0 { return 1 }
        let rate = inflow.microtokensPerMillisecond
        if rate > 0 { return max(1, (missing - 1) / rate + 1) }
        return max(1, limit.millisecondsToGain(missing), endsAt.milliseconds - now.milliseconds)
    }
}

/// How fast what is open at the store grows: the refill rate less what runs to others as paces.
///
/// Eight bytes, which a payment copies as they are; whoever asks for a balance reads them.
struct Inflow: Sendable, Equatable, BitwiseCopyable {
    /// The rate, or its complement where ``isShared``.
    private let bits: Int64

    @inline(__always)
    init(microtokensPerMillisecond rate: Int64, isShared: Bool) {
        bits = isShared ? ~rate : rate
    }

    /// Whether what is open is spoken for: this lessee has had its share of it, and its share of the inflow as a pace.
    var isShared: Bool { bits < 0 }

    var microtokensPerMillisecond: Int64 { isShared ? ~bits : bits }
}
