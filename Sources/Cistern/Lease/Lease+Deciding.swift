/// What a lease says to the requests that come: paid from tokens held, denied by what the store has said, or neither.
extension Lease {
    /// Lets time pass, and pays a request from the tokens held, if they suffice.
    ///
    /// It has become ``latest``.
    mutating func spend(
        cost: UInt32, clockDriftPerMille: Int64, now: Instant, tally: inout LeaseTokenTally
    ) -> Payment {
        advance(clockDriftPerMille: clockDriftPerMille, now: now, tally: &tally)
        guard cost <= heldTokens else { return .none }
        if case .settled(let terms) = phase, isHalfSpent(with: cost, terms) { recordHalfSpend(terms, paying: cost) }
        heldTokens &-= cost
        spentAt = latest
        return payment
    }

    /// What has just been paid leaves.
    @inline(__always)
    var payment: Payment { Payment(limit, balance: Balance(estimate, asOf: estimateAt), heldTokens: heldTokens) }

    /// Decides from memory: from tokens held, or because the store has said that it cannot pay yet.
    ///
    /// Returns nil where only the store can tell.
    mutating func decide(
        costMicrotokens: Int64, settings: LeaseSettings, now: Instant, tally: inout LeaseTokenTally
    ) -> Decision? {
        let cost = UInt32(truncatingIfNeeded: costMicrotokens / Limit.microtokensPerToken)
        let payment = spend(cost: cost, clockDriftPerMille: settings.clockDriftPerMille, now: now, tally: &tally)
        guard payment.isMade else { return denyFromMemory(costMicrotokens: costMicrotokens, settings: settings) }
        tally.spent &+= UInt64(cost)
        return payment.decision(at: latest)
    }

    /// Denies what could not be paid at the latest instant, where the store has said that it cannot pay yet; nil where only the
    /// store can tell.
    mutating func denyFromMemory(costMicrotokens: Int64, settings: LeaseSettings) -> Decision? {
        let missing = costMicrotokens &- Int64(heldTokens) &* Limit.microtokensPerToken
        guard !isRequesting, estimate.forbids(missing, leaseEnd: expiresAt, now: latest) else { return nil }
        return deny(costMicrotokens: costMicrotokens, settings: settings, now: latest)
    }

    /// The answer to a request that the store was asked for and could not pay.
    mutating func deny(costMicrotokens: Int64, settings: LeaseSettings, now: Instant) -> Decision {
        wanted += Int(costMicrotokens / Limit.microtokensPerToken)
        guard costMicrotokens <= limit.capacityMicrotokens else {
            return .neverAllowed(limit, balanceMicrotokens: knownMicrotokens, at: now)
        }
        return .denied(
            limit, balanceMicrotokens: knownMicrotokens,
            retryAfterMilliseconds: millisecondsUntilPaid(costMicrotokens, settings: settings, now: now), at: now)
    }

    /// Milliseconds until a request that nobody else competes with is surely paid.
    private func millisecondsUntilPaid(_ costMicrotokens: Int64, settings: LeaseSettings, now: Instant) -> Int64 {
        let missing = costMicrotokens &- Int64(held) &* Limit.microtokensPerToken
        let tokens = Int((max(0, missing) + Limit.microtokensPerToken - 1) / Limit.microtokensPerToken)
        let drift = settings.clockDriftPerMille
        if let trickle = terms.trickle.millisecondsUntil(
            tokens, leaseEnd: expiresAt, clockDriftPerMille: drift, now: now)
        {
            return trickle
        }
        // What is spent here and still on record at the store keeps its refill from this much room, until it learns of
        // it. It counts that from the last spend, on the slowest clock.
        let onRecord = Int64(leased &+ Int(spent)) &* Limit.microtokensPerToken
        let room = limit.capacityMicrotokens &- onRecord
        let open = estimate.millisecondsUntil(missing, limit: limit, leaseEnd: expiresAt, now: now)
        // The word has been carried on by this clock, which may have run fast since the request left.
        let sentAt = expiresAt.advanced(byMilliseconds: settings.sentBeforeExpiryMilliseconds)
        let carried = max(0, now.milliseconds &- sentAt.milliseconds) &* drift / 1000
        let flows =
            missing <= room
            ? LeaseSettings.surelyLater(open &+ carried, clockDriftPerMille: drift)
            : LeaseSettings.surelyLater(
                limit.millisecondsToGain(missing &- max(0, min(estimate.openMicrotokens, room))),
                clockDriftPerMille: drift)
                &- (now.milliseconds &- spentAt.milliseconds)
        return max(1, open, flows &+ Int64(answerMilliseconds))
    }

    /// Lets time pass: paced tokens come, and a lease whose time has run out is forgotten; the store counts it as spent.
    ///
    /// It has become ``latest``: no earlier than an instant seen before.
    mutating func advance(clockDriftPerMille: Int64, now: Instant, tally: inout LeaseTokenTally) {
        let now = max(now, latest)
        estimate.refill(limit, elapsedMilliseconds: now.milliseconds &- estimateAt.milliseconds)
        estimateAt = now
        if case .settled(let terms) = phase, terms.trickle.remaining > 0 {
            takeIn(terms, clockDriftPerMille: clockDriftPerMille, now: now)
        }
        if now >= expiresAt { lapse(tally: &tally) }
    }

    /// Takes in the tokens of the pace that have come.
    private mutating func takeIn(_ terms: LeaseTerms, clockDriftPerMille: Int64, now: Instant) {
        var terms = terms
        held &+= terms.trickle.arrive(leaseEnd: expiresAt, clockDriftPerMille: clockDriftPerMille, now: now)
        phase = .settled(terms)
    }

    private mutating func lapse(tally: inout LeaseTokenTally) {
        dropTokens(tally: &tally)
        notes.remove(.isRecorded)
    }

    /// What is held and to come is not spent any more.
    mutating func dropTokens(tally: inout LeaseTokenTally) {
        tally.expired &+= UInt64(held &+ trickleRemaining)
        held = 0
        dropTrickle()
    }

    private mutating func dropTrickle() {
        guard case .settled(var terms) = phase else { return }
        terms.trickle = TrickleGrant()
        phase = .settled(terms)
    }
}
