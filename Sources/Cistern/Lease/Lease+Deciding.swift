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
        if case .settled(let terms) = phase, isEarlySpent(with: cost, terms) { noteEarly(terms, paying: cost) }
        heldTokens &-= cost
        spentAt = latest
        return payment
    }

    /// What has just been paid leaves.
    @inline(__always)
    var payment: Payment { Payment(limit, balance: Balance(word, asOf: wordAt), heldTokens: heldTokens) }

    /// Decides from memory: from tokens held, or because the store has said that it cannot pay yet.
    ///
    /// Returns nil where only the store can tell.
    mutating func decide(
        costMicrotokens: Int64, settings: LeaseSettings, now: Instant, tally: inout LeaseTokenTally
    ) -> Decision? {
        let cost = UInt32(truncatingIfNeeded: costMicrotokens / Limit.microtokensPerToken)
        let payment = spend(cost: cost, clockDriftPerMille: settings.clockDriftPerMille, now: now, tally: &tally)
        guard payment.isMade else { return denyFromMemory(costMicrotokens: costMicrotokens) }
        tally.spent &+= UInt64(cost)
        return payment.decision(at: latest)
    }

    /// Denies what could not be paid at the latest instant, where the store has said that it cannot pay yet; nil where only the
    /// store can tell.
    mutating func denyFromMemory(costMicrotokens: Int64) -> Decision? {
        let missing = costMicrotokens &- Int64(heldTokens) &* Limit.microtokensPerToken
        guard !isAsking, word.forbids(missing, leaseEnd: expiresAt, now: latest) else { return nil }
        return deny(costMicrotokens: costMicrotokens, now: latest)
    }

    /// The answer to a request that the store was asked for and could not pay.
    mutating func deny(costMicrotokens: Int64, now: Instant) -> Decision {
        wanted += Int(costMicrotokens / Limit.microtokensPerToken)
        let missing =
            min(costMicrotokens, limit.capacityMicrotokens) &- Int64(held) &* Limit.microtokensPerToken
        let tokens = Int((max(0, missing) + Limit.microtokensPerToken - 1) / Limit.microtokensPerToken)
        let byPace = terms.pace.millisecondsUntil(tokens, leaseEnd: expiresAt, now: now) ?? .max
        return .denied(
            limit, balanceMicrotokens: knownMicrotokens,
            retryAfterMilliseconds: min(
                byPace, word.millisecondsUntil(missing, limit: limit, leaseEnd: expiresAt, now: now)), at: now)
    }

    /// Lets time pass: paced tokens come, and a lease whose time has run out is forgotten; the store counts it as spent.
    ///
    /// It has become ``latest``: no earlier than an instant seen before.
    mutating func advance(clockDriftPerMille: Int64, now: Instant, tally: inout LeaseTokenTally) {
        let now = max(now, latest)
        word.refill(limit, elapsedMilliseconds: now.milliseconds &- wordAt.milliseconds)
        wordAt = now
        if case .settled(let terms) = phase, terms.pace.coming > 0 {
            takeIn(terms, clockDriftPerMille: clockDriftPerMille, now: now)
        }
        if now >= expiresAt { lapse(tally: &tally) }
    }

    /// Takes in the tokens of the pace that have come.
    private mutating func takeIn(_ terms: LeaseTerms, clockDriftPerMille: Int64, now: Instant) {
        var terms = terms
        held &+= terms.pace.arrive(leaseEnd: expiresAt, clockDriftPerMille: clockDriftPerMille, now: now)
        phase = .settled(terms)
    }

    private mutating func lapse(tally: inout LeaseTokenTally) {
        dropTokens(tally: &tally)
        notes.remove(.isOnRecord)
    }

    /// What is held and to come is not spent any more.
    mutating func dropTokens(tally: inout LeaseTokenTally) {
        tally.expired &+= UInt64(held &+ coming)
        held = 0
        dropPace()
    }

    private mutating func dropPace() {
        guard case .settled(var terms) = phase else { return }
        terms.pace = Pace()
        phase = .settled(terms)
    }
}
