/// One server's knowledge of one key: the tokens it holds, and what the store last reported about the bucket.
///
/// A state machine without IO: requests and replies go in, decisions and amounts come out. At most one store request
/// for a key is in flight, and only the reply to that request is applied. ``PackedLease`` stores the same in fewer
/// bytes.
struct LeaseState: Sendable, Equatable {
    /// The limit in force.
    var limit: Limit
    /// The partition of the store that this state belongs to.
    var partition: PartitionID
    /// Leased tokens that are unspent and not reserved.
    var heldTokens = 0
    /// Tokens spent since the last request to the store.
    var spentTokens = 0
    /// Tokens that requests have asked for since demand was last measured.
    ///
    /// Waiting requests are counted when the lease request is sent, and again when they are decided. To offset the
    /// second count, the lease request sets this to minus their tokens.
    var demandedTokens = 0
    /// Demand at this server, averaged.
    var demand: Demand
    /// The store's balance as this server estimates it.
    var estimate: StoreBalanceEstimate
    /// When all held tokens expire.
    var expiresAt: Instant
    /// When to renew the lease, at the latest; nil if it is renewed only when a request finds too few tokens.
    var renewAt: Instant?
    /// When a token was last spent here.
    var lastSpentAt: Instant
    var phase = Phase.settled(Terms())
    /// The number of the last request whose reply was applied.
    var acknowledgedSequence: UInt64
    /// How many servers lease the key, as the store last reported: in steps of 16, rounded up.
    var lesseeSteps = UInt8(0)
    /// How long the last reply took, in milliseconds.
    var replyMilliseconds = 0
    /// The store may have tokens on record for this lessee, spent or not.
    var hasStoreRecord = false
    /// Whether the tokens on record for all lessees will stop the refill before this lease ends.
    var recordedTokensStopRefill = false
    /// The last request asked for prefetch tokens.
    var hasPrefetched = false
    /// An idle check is scheduled for this lease.
    var hasIdleCheck = false

    /// Whether a request to the store is in flight.
    enum Phase: Sendable, Equatable {
        case settled(Terms)
        case requesting(RequestInFlight)
    }

    /// The terms of a reply, which apply until the next request.
    struct Terms: Sendable, Equatable {
        /// Tokens granted out of the refill to come.
        var trickle = TrickleGrant()
        /// The lease is renewed as soon as it holds fewer tokens than this.
        var renewBelow = 0
        var halfSpent = HalfSpent.none
    }

    /// When about half of a lease had been spent.
    ///
    /// The store credits overflow since that time.
    enum HalfSpent: Sendable, Equatable {
        case none
        /// Record the time once `threshold` tokens have been spent.
        case pending(threshold: Int)
        /// `tokens` had been spent at `at`, in whole milliseconds.
        case recorded(tokens: Int, at: Instant)
    }

    /// A request to the store that has not been answered.
    struct RequestInFlight: Sendable, Equatable {
        var sequence: UInt64
        /// The held tokens that it reported.
        var reportedHeldTokens: Int
        /// Held tokens set aside for the requests that wait for the reply.
        var reservedHeldTokens: Int
    }

    /// The latest instant seen here.
    ///
    /// A thread that stalled after reading its clock decides for this instant.
    var latestSeenAt: Instant { max(estimate.asOf, lastSpentAt) }

    /// An upper bound for the number of servers that lease the key, up to 4080.
    var lessees: Int { Int(lesseeSteps) * 16 }

    /// Whether a request to the store is in flight.
    var isRequesting: Bool {
        if case .requesting = phase { true } else { false }
    }

    /// The number of the request in flight, or else of the last one that was answered.
    var sequence: UInt64 {
        if case .requesting(let request) = phase { request.sequence } else { acknowledgedSequence }
    }

    var terms: Terms {
        if case .settled(let terms) = phase { terms } else { Terms() }
    }

    /// Tokens set aside for the requests that wait for the reply in flight.
    private var reservedTokens: Int {
        if case .requesting(let request) = phase { request.reservedHeldTokens } else { 0 }
    }

    /// Leased tokens that are not known to be spent: held, reserved, or still to come from the trickle grant.
    var outstandingTokens: Int { heldTokens + reservedTokens + terms.trickle.remainingTokens }

    /// The outstanding tokens that have not expired by `now`, whether the expiry has been processed or not.
    func outstandingTokens(at now: Instant) -> Int { now < expiresAt ? outstandingTokens : 0 }

    /// The best estimate of the global balance: the store's balance plus the tokens held here.
    var balanceUnits: Int64 {
        let held = limit.units(of: heldTokens)
        return min(limit.capacityUnits, max(0, estimate.openUnits) + held)
    }

    /// Whether to send a request to the store although no client request needs tokens.
    ///
    /// The reason is tokens to return, or spent tokens on record that would stop the refill.
    var mustReport: Bool { outstandingTokens > 0 || hasStoreRecord && recordedTokensStopRefill }

    /// Whether returning the tokens is worth a store call; otherwise they may expire.
    func isWorthReturning(settings: LeaseSettings) -> Bool {
        hasStoreRecord && recordedTokensStopRefill || outstandingTokens > settings.negligibleTokens(of: limit)
    }

    /// Whether forgetting this state loses nothing: no tokens, no request in flight.
    func isForgettable(now: Instant) -> Bool {
        !isRequesting && outstandingTokens(at: now) == 0
    }

    /// Whether to request more tokens before the held ones run out.
    func isRunningDry(now: Instant) -> Bool {
        guard case .settled(let terms) = phase, let renewAt else { return false }
        return heldTokens + terms.trickle.remainingTokens < terms.renewBelow || now >= renewAt
    }
}

extension LeaseState {
    /// Creates the state of a key about which nothing is known: its bucket is assumed to be full.
    ///
    /// - Parameters:
    ///   - sequence: the number of the last request for any key; it counts as acknowledged. The request may have been
    ///     for this key, before the key's eviction. Then the reply was applied, and tokens that it granted may have
    ///     been spent.
    ///   - lastSpentAt: the latest time at which a token of this key may have been spent here before its eviction.
    init(
        limit: Limit, partition: PartitionID = .only, sequence: UInt64 = 0,
        lastSpentAt: Instant = Instant(nanoseconds: 0), now: Instant
    ) {
        self.init(
            limit: limit, partition: partition, demand: Demand(now: now),
            estimate: StoreBalanceEstimate(unknown: limit, asOf: now), expiresAt: now, lastSpentAt: lastSpentAt,
            acknowledgedSequence: sequence)
    }
}
