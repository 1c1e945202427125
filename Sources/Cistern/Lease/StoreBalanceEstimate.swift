/// The store's balance of one bucket: as last reported, plus the refill since then.
///
/// The estimate decides when to ask the store again. That is never too late, except after other servers have returned
/// tokens. It never permits spending.
struct StoreBalanceEstimate: Sendable, Equatable {
    /// The tokens that the store could grant to this lessee at ``asOf``, in units.
    private(set) var openUnits: Int64
    let inflow: Inflow
    /// A shortage may be denied without asking the store until this instant; nil if never.
    let deniesUntil: Instant?
    /// The instant up to which the inflow has been added.
    private(set) var asOf: Instant

    init(openUnits: Int64, inflow: Inflow, deniesUntil: Instant?, asOf: Instant) {
        self.openUnits = openUnits
        self.inflow = inflow
        self.deniesUntil = deniesUntil
        self.asOf = asOf
    }

    /// Creates the estimate for an unknown bucket: it is assumed to be full, and nothing can be denied.
    init(unknown limit: Limit, asOf: Instant) {
        self.init(
            openUnits: limit.capacityUnits, inflow: Inflow(unitsPerMillisecond: 0, isShared: false),
            deniesUntil: nil, asOf: asOf)
    }

    /// Creates the estimate from a grant.
    ///
    /// It ends, because other lessees may return tokens. It lasts as long as the trickle grant, or without one, the
    /// lease. If only other lessees have trickle grants, it lasts one horizon, since those may not be renewed.
    init(
        _ grant: Grant, sentAt: Instant, limit: Limit, expiresAt: Instant, settings: LeaseSettings, now: Instant
    ) {
        // The store read its clock after the request was sent. Counting from `sentAt` estimates the next token too
        // early rather than too late. Too early costs only another request.
        let refill = grant.openRefillUnitsPerMillisecond
        let endsAt =
            if grant.trickleTokens > 0 {
                now.advanced(byMilliseconds: grant.trickleMilliseconds)
            } else if refill < limit.refillUnitsPerMillisecond {
                sentAt.advanced(byMilliseconds: settings.horizonMilliseconds)
            } else {
                expiresAt
            }
        // Whole microseconds before the expiry, rounded up: never later than `endsAt`, and exact in ``PackedLease``.
        let microsecondsBefore = (max(0, expiresAt.nanoseconds - endsAt.nanoseconds) + 999) / 1000
        self.init(
            openUnits: min(grant.openUnits, limit.capacityUnits),
            inflow: Inflow(unitsPerMillisecond: refill, isShared: grant.trickleTokens > 0),
            deniesUntil: Instant(nanoseconds: expiresAt.nanoseconds - microsecondsBefore * 1000),
            asOf: sentAt)
        advance(to: now, limit: limit)
    }

    /// Adds the inflow up to `now`.
    mutating func advance(to now: Instant, limit: Limit) {
        var bucket = TokenBucket(units: openUnits, asOfMilliseconds: 0)
        bucket.refill(
            unitsPerMillisecond: inflow.unitsPerMillisecond, ceilingUnits: limit.capacityUnits,
            nowMilliseconds: now.milliseconds - asOf.milliseconds)
        openUnits = bucket.units
        asOf = now
    }

    /// Whether the store has reported that it cannot pay this much yet.
    func rulesOut(_ units: Int64, now: Instant) -> Bool {
        guard let deniesUntil, now < deniesUntil else { return false }
        return inflow.isShared || openUnits < units
    }

    /// Milliseconds until the store can pay this much, or until asking it again is worthwhile.
    func millisecondsUntil(_ units: Int64, limit: Limit, now: Instant) -> Int64 {
        let missing = units - openUnits
        let untilEnd = (deniesUntil ?? Instant(nanoseconds: 0)).milliseconds - now.milliseconds
        if inflow.isShared {
            // Until the estimate ends, all refill is granted to lessees, including this one.
            return max(1, untilEnd) &+ limit.millisecondsToGain(missing)
        }
        if missing <= 0 { return 1 }
        let rate = inflow.unitsPerMillisecond
        if rate > 0 { return max(1, (missing - 1) / rate + 1) }
        return max(1, limit.millisecondsToGain(missing), untilEnd)
    }
}

/// How fast the open balance at the store grows: the refill rate less the trickle grants of other lessees.
struct Inflow: Sendable, Equatable, BitwiseCopyable {
    /// The rate, or its complement if ``isShared``: a payment copies these eight bytes as they are.
    private let bits: Int64

    @inline(__always)
    init(unitsPerMillisecond rate: Int64, isShared: Bool) {
        bits = isShared ? ~rate : rate
    }

    /// Whether this lessee already has its part of the open balance, and of the inflow as a trickle grant.
    var isShared: Bool { bits < 0 }

    var unitsPerMillisecond: Int64 { isShared ? ~bits : bits }
}
