/// What a lease says to the requests that come: paid from tokens held, denied by what the store has said, or neither.
extension Lease {
    /// Pays a request from the tokens held where nothing else has become of the lease, as nearly always.
    ///
    /// ``Answer/Kind/unpaid`` where the tokens do not suffice, or where
    /// ``spend(cost:clockDriftPerMille:now:tally:)`` has to look first at what time has brought.
    @inline(__always)
    mutating func spendAtOnce(cost: UInt32, now: Instant) -> Answer {
        guard case .settled(let terms) = phase, terms.pace.coming == 0, cost <= heldTokens, now >= latest,
            now < expiresAt
        else { return .unpaid(limit, at: now) }
        carryWord(to: now)
        pay(cost)
        return paid(isRunningDry: terms.areRunningDry(held: held, leaseEnd: expiresAt, now: now))
    }

    /// Lets time pass, and pays a request from the tokens held, if they suffice.
    mutating func spend(
        cost: UInt32, clockDriftPerMille: Int64, now: Instant, tally: inout LeaseTokenTally
    ) -> Answer {
        let now = advance(clockDriftPerMille: clockDriftPerMille, now: now, tally: &tally)
        guard cost <= heldTokens else { return .unpaid(limit, at: now) }
        pay(cost)
        return paid(isRunningDry: isRunningDry(now: now))
    }

    /// Pays from the tokens held, which must suffice, at the latest instant that was seen.
    @inline(__always)
    private mutating func pay(_ cost: UInt32) {
        heldTokens &-= cost
        want(Int(cost))
        spentAt = latest
        countSpending(cost)
    }

    @inline(__always)
    private func paid(isRunningDry: Bool) -> Answer {
        let kind = isRunningDry ? Answer.Kind.paidRunningDry : .paid
        return Answer(limit: limit, kind: kind, balanceMicrotokens: knownMicrotokens, at: latest)
    }

    /// Decides from memory: from tokens held, or because the store has said that it cannot pay yet.
    ///
    /// Returns nil where only the store can tell.
    mutating func decide(
        costMicrotokens: Int64, settings: LeaseSettings, now: Instant, tally: inout LeaseTokenTally
    ) -> Decision? {
        let cost = UInt32(truncatingIfNeeded: costMicrotokens / Limit.microtokensPerToken)
        let answer = spend(cost: cost, clockDriftPerMille: settings.clockDriftPerMille, now: now, tally: &tally)
        if answer.kind == .unpaid { return denyFromMemory(costMicrotokens: costMicrotokens) }
        tally.spent &+= UInt64(cost)
        return .allowed(answer.limit, balanceMicrotokens: answer.balanceMicrotokens, at: answer.at)
    }

    /// Denies what could not be paid at the latest instant, where the store has said that it cannot pay yet; nil where only the
    /// store can tell.
    mutating func denyFromMemory(costMicrotokens: Int64) -> Decision? {
        let missing = costMicrotokens &- Int64(heldTokens) &* Limit.microtokensPerToken
        guard !isAsking, word.forbids(missing, now: latest) else { return nil }
        return deny(costMicrotokens: costMicrotokens, now: latest)
    }

    @inline(__always)
    private mutating func want(_ tokens: Int) {
        wanted = Int32(clamping: Int(wanted) &+ tokens)
    }

    /// Counts tokens that were just spent, until about half of the lease has been.
    @inline(__always)
    private mutating func countSpending(_ cost: UInt32) {
        guard !notes.contains(.isEarlyNoted) else { return }
        spent = UInt32(clamping: UInt64(spent) &+ UInt64(cost))
        guard case .settled(let terms) = phase, spent >= terms.early else { return }
        noteEarly(terms)
    }

    private mutating func noteEarly(_ terms: LeaseTerms) {
        var terms = terms
        terms.early = UInt32(clamping: expiresAt.milliseconds - spentAt.milliseconds)
        phase = .settled(terms)
        notes.insert(.isEarlyNoted)
    }

    /// The answer to a request that the store was asked for and could not pay.
    mutating func deny(costMicrotokens: Int64, now: Instant) -> Decision {
        want(Int(costMicrotokens / Limit.microtokensPerToken))
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
