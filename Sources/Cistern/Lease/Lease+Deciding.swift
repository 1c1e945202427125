/// What a lease says to the requests that come: paid from tokens held, denied by what the store has said, or neither.
extension Lease {
    /// Pays a request from the tokens held where nothing else becomes of the lease, as nearly always.
    ///
    /// Nil where the tokens do not suffice, or where ``spend(cost:clockDriftPerMille:now:tally:)`` has to look at what time
    /// or spending has brought about. It has become the instant that is given.
    @inline(__always)
    mutating func spendAtOnce(cost: UInt32, now: Instant) -> Payment? {
        guard case .settled(let terms) = phase, terms.pace.coming == 0, now >= latest,
            now < terms.restsUntil(leaseEnd: expiresAt), cost <= heldTokens,
            heldTokens &- cost >= terms.renewBelow, !isEarlySpent(with: cost, terms)
        else { return nil }
        carryWord(to: now)
        return pay(cost)
    }

    /// Lets time pass, and pays a request from the tokens held, if they suffice.
    ///
    /// It has become ``latest``.
    mutating func spend(
        cost: UInt32, clockDriftPerMille: Int64, now: Instant, tally: inout LeaseTokenTally
    ) -> Payment? {
        advance(clockDriftPerMille: clockDriftPerMille, now: now, tally: &tally)
        guard cost <= heldTokens else { return nil }
        if case .settled(let terms) = phase, isEarlySpent(with: cost, terms) { noteEarly(terms, paying: cost) }
        return pay(cost)
    }

    /// Pays from the tokens held, which must suffice, at the latest instant that was seen.
    @inline(__always)
    private mutating func pay(_ cost: UInt32) -> Payment {
        heldTokens &-= cost
        spentAt = latest
        return Payment(limit: limit, balanceMicrotokens: knownMicrotokens)
    }

    /// Decides from memory: from tokens held, or because the store has said that it cannot pay yet.
    ///
    /// Returns nil where only the store can tell.
    mutating func decide(
        costMicrotokens: Int64, settings: LeaseSettings, now: Instant, tally: inout LeaseTokenTally
    ) -> Decision? {
        let cost = UInt32(truncatingIfNeeded: costMicrotokens / Limit.microtokensPerToken)
        let payment = spend(cost: cost, clockDriftPerMille: settings.clockDriftPerMille, now: now, tally: &tally)
        guard let payment else { return denyFromMemory(costMicrotokens: costMicrotokens) }
        tally.spent &+= UInt64(cost)
        return payment.decision(at: latest)
    }

    /// Denies what could not be paid at the latest instant, where the store has said that it cannot pay yet; nil where only the
    /// store can tell.
    mutating func denyFromMemory(costMicrotokens: Int64) -> Decision? {
        let missing = costMicrotokens &- Int64(heldTokens) &* Limit.microtokensPerToken
        guard !isAsking, word.forbids(missing, now: latest) else { return nil }
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
            retryAfterMilliseconds: min(byPace, word.millisecondsUntil(missing, limit: limit, now: now)), at: now)
    }

    /// Lets time pass: paced tokens come, and a lease whose time has run out is forgotten; the store counts it as spent.
    ///
    /// Returns the instant that it has become: no earlier than one seen before.
    @discardableResult
    mutating func advance(
        clockDriftPerMille: Int64, now: Instant, tally: inout LeaseTokenTally
    ) -> Instant {
        let now = max(now, latest)
        carryWord(to: now)
        if case .settled(let terms) = phase, terms.pace.coming > 0 {
            takeIn(terms, clockDriftPerMille: clockDriftPerMille, now: now)
        }
        if now >= expiresAt { lapse(tally: &tally) }
        return now
    }

    /// Carries what the store said on to an instant, which is no earlier than the latest.
    @inline(__always)
    private mutating func carryWord(to now: Instant) {
        if !word.isFull(limit) {
            word.refill(limit, elapsedMilliseconds: now.milliseconds &- latest.milliseconds)
        }
        latest = now
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
