/// Requests to the store, their replies, and changes from outside.
extension LeaseState {
    /// The part of a ``LeaseRequest`` that the lease determines: its report and its request for tokens.
    struct Report: Equatable {
        var held: Int
        var millisecondsSinceLastSpend: Int64
        var halfSpentTokens = 0
        var halfSpentMilliseconds: Int64 = 0
        var returned = 0
        var requested = RequestedLease.none
    }

    /// Begins a request for the tokens that waiting requests need beyond the held ones, and for the demand to come.
    ///
    /// If requests wait, the held tokens are reserved for them: later requests must not spend them before the reply.
    /// Trickle tokens that have not arrived are returned and requested again.
    mutating func beginRequest(
        waitingTokens: Int, sequence: UInt64, sizing: some LeaseSizing, settings: LeaseSettings, now: Instant,
        tally: inout LeaseTokenTally
    ) -> Report {
        advance(clockDriftPerMille: settings.clockDriftPerMille, now: now, tally: &tally)
        let now = latestSeenAt
        demand.record(tokens: demandedTokens + waitingTokens, settings: settings, now: now)
        // Waiting requests are counted here and again when they are decided; this offsets the second count.
        demandedTokens = -waitingTokens
        let returned = terms.trickle.remainingTokens
        tally.returned &+= UInt64(returned)
        var report = begin(sequence, isReserving: waitingTokens > 0, settings: settings, now: now)
        let usage = SizingInput(
            limit: limit, demandPerSecond: demand.tokensPerSecond, held: max(0, report.held - waitingTokens))
        report.requested = sizing.requested(for: usage, settings: settings).bounded.limitingTrickle(by: settings)
        report.returned = returned
        hasPrefetched = report.requested.prefetchTokens > 0
        return report
    }

    /// Returns all outstanding tokens; nil if there is nothing to report, or while a request is in flight.
    ///
    /// - Parameter isForced: whether to report even if the store's record could as well expire.
    mutating func returnTokens(
        sequence: UInt64, isForced: Bool, settings: LeaseSettings, now: Instant, tally: inout LeaseTokenTally
    ) -> Report? {
        advance(clockDriftPerMille: settings.clockDriftPerMille, now: now, tally: &tally)
        guard !isRequesting, mustReport || isForced && hasStoreRecord else { return nil }
        let returned = outstandingTokens
        tally.returned &+= UInt64(returned)
        heldTokens = 0
        hasPrefetched = false
        var report = begin(sequence, isReserving: false, settings: settings, now: latestSeenAt)
        report.returned = returned
        return report
    }

    private mutating func begin(
        _ sequence: UInt64, isReserving: Bool, settings: LeaseSettings, now: Instant
    ) -> Report {
        precondition(!isRequesting, "one request at a time for a key")
        var report = Report(
            held: heldTokens, millisecondsSinceLastSpend: settings.minimumStoreMilliseconds(from: lastSpentAt, to: now))
        if case .recorded(let tokens, let at) = terms.halfSpent {
            report.halfSpentTokens = tokens
            report.halfSpentMilliseconds = settings.minimumStoreMilliseconds(from: at, to: now)
        }
        spentTokens = 0
        renewAt = nil
        phase = .requesting(
            RequestInFlight(
                sequence: sequence, reportedHeldTokens: heldTokens, reservedHeldTokens: isReserving ? heldTokens : 0))
        if isReserving { heldTokens = 0 }
        return report
    }

    /// Applies the reply to the request in flight.
    ///
    /// If the store knew of fewer tokens than were reported, the missing ones have expired and must not be spent here.
    mutating func settle(
        _ grant: Grant, sentAt: Instant, settings: LeaseSettings, now: Instant, tally: inout LeaseTokenTally
    ) {
        guard case .requesting(let request) = phase else { return }
        let now = max(now, latestSeenAt)
        acknowledgedSequence = request.sequence
        lesseeSteps = UInt8(clamping: (grant.lessees + 15) / 16)
        replyMilliseconds = Int(clamping: now.milliseconds - sentAt.milliseconds)
        let left = heldTokens + request.reservedHeldTokens
        let expired = min(left, request.reportedHeldTokens - grant.held)
        tally.expired &+= UInt64(expired)
        tally.granted &+= UInt64(grant.tokens + grant.trickleTokens)
        heldTokens = left - expired + grant.tokens
        hasStoreRecord = grant.held + grant.tokens + grant.trickleTokens > 0
        recordedTokensStopRefill = recordedTokensStopRefill(grant, settings: settings)
        expiresAt = settings.expiry(sentAt: sentAt)
        estimate = StoreBalanceEstimate(
            grant, sentAt: sentAt, limit: limit, expiresAt: expiresAt, settings: settings, now: now)
        var terms = Terms()
        terms.trickle = TrickleGrant(
            tokens: grant.trickleTokens, durationMilliseconds: grant.trickleMilliseconds, startedAt: now)
        terms.halfSpent = .pending(threshold: max(1, (spentTokens + heldTokens + terms.trickle.tokens) / 2))
        if hasPrefetched, settings.prefetchMilliseconds > 0 {
            terms.renewBelow = renewBelow(terms, settings: settings)
            renewAt = renewAt(sentAt: sentAt, settings: settings)
        }
        phase = .settled(terms)
    }

    /// The tokens that demand takes during ``LeaseSettings/prefetch``; at most half of the lease's tokens.
    private func renewBelow(_ terms: Terms, settings: LeaseSettings) -> Int {
        let perSecond = terms.trickle.tokens > 0 ? terms.trickle.tokensPerSecond : demand.tokensPerSecond
        let duringRenewal = Int((perSecond * Double(settings.prefetchMilliseconds) / 1000).rounded(.up))
        return min(duringRenewal, (heldTokens + terms.trickle.tokens + 1) / 2)
    }

    /// When to renew: three quarters into the lease, so that unused tokens are reported before they expire.
    private func renewAt(sentAt: Instant, settings: LeaseSettings) -> Instant {
        let atThreeQuarters = sentAt.advanced(byMilliseconds: settings.durationMilliseconds * 3 / 4)
        let before = max(1, expiresAt.milliseconds - atThreeQuarters.milliseconds)
        return expiresAt.advanced(byMilliseconds: -min(before, Int64(UInt16.max)))
    }

    private func recordedTokensStopRefill(_ grant: Grant, settings: LeaseSettings) -> Bool {
        let room = limit.capacityUnits - limit.units(of: grant.outstanding)
        return grant.outstanding > limit.capacity / 16
            && limit.millisecondsToGain(room - max(0, grant.openUnits)) < settings.durationMilliseconds
    }

    /// Ends the request in flight, which got no usable reply.
    mutating func fail() {
        if case .requesting(let request) = phase { heldTokens += request.reservedHeldTokens }
        phase = .settled(Terms())
        renewAt = nil
        demandedTokens = 0
        invalidateEstimate()
    }

    /// Switches to another partition of the store, and forgets everything about the old one.
    ///
    /// Held tokens should be returned to the old partition first; the reply to that request is ignored.
    mutating func move(to partition: PartitionID) {
        if case .requesting(let request) = phase {
            precondition(request.reservedHeldTokens == 0, "no request may be waiting")
        }
        self.partition = partition
        phase = .settled(Terms())
        renewAt = nil
        (heldTokens, spentTokens) = (0, 0)
        (hasStoreRecord, hasPrefetched) = (false, false)
        invalidateEstimate()
    }

    /// Switches to another limit: voids the estimate, and drops tokens granted under a higher limit.
    ///
    /// Tokens reserved for waiting requests stay. The store learns of the dropped tokens with the next request, or its
    /// record expires.
    mutating func change(to limit: Limit, from old: Limit, tally: inout LeaseTokenTally) {
        self.limit = limit
        invalidateEstimate()
        if limit.isLower(than: old) { dropTokens(tally: &tally) }
    }

    /// Voids the estimate, so that the next shortage asks the store.
    mutating func invalidateEstimate() {
        estimate = StoreBalanceEstimate(unknown: limit, asOf: estimate.asOf)
    }

    /// Records that a request was paid here with tokens that were not leased.
    mutating func recordSpend(now: Instant) {
        lastSpentAt = max(lastSpentAt, now)
    }
}
