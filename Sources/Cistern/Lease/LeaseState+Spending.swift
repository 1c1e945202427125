/// Decisions from memory: paid from held tokens, denied because of the store's last report, or neither.
extension LeaseState {
    /// Decides from memory; nil if only the store can tell.
    mutating func decide(
        cost: Int, settings: LeaseSettings, now: Instant, tally: inout LeaseTokenTally
    ) -> Decision? {
        advance(clockDriftPerMille: settings.clockDriftPerMille, now: now, tally: &tally)
        if spend(cost) {
            tally.spent &+= UInt64(cost)
            let balance = Balance(estimate)
            return .allowed(limit, balance: balance, heldTokens: UInt32(clamping: heldTokens), at: latestSeenAt)
        }
        let missing = limit.units(of: cost - heldTokens)
        guard !isRequesting, estimate.rulesOut(missing, now: latestSeenAt) else { return nil }
        return deny(cost: cost, settings: settings, now: latestSeenAt)
    }

    /// Pays a cost from the held tokens, if there are enough, at the ``latestSeenAt`` instant.
    private mutating func spend(_ cost: Int) -> Bool {
        guard cost <= heldTokens else { return false }
        heldTokens -= cost
        spentTokens += cost
        demandedTokens += cost
        if case .settled(var terms) = phase, case .pending(let threshold) = terms.halfSpent, spentTokens >= threshold {
            let at = Instant(milliseconds: min(latestSeenAt, expiresAt).milliseconds)
            terms.halfSpent = .recorded(tokens: spentTokens, at: at)
            phase = .settled(terms)
        }
        lastSpentAt = latestSeenAt
        return true
    }

    /// The denial of a request that the store cannot pay.
    mutating func deny(cost: Int, settings: LeaseSettings, now: Instant) -> Decision {
        demandedTokens += cost
        guard cost <= limit.capacity else {
            return .neverAllowed(limit, balanceUnits: balanceUnits, at: now)
        }
        return .denied(
            limit, balanceUnits: balanceUnits,
            retryAfterMilliseconds: millisecondsUntilPaid(cost, settings: settings, now: now), at: now)
    }

    /// Milliseconds until a request without competitors is certain to be paid.
    private func millisecondsUntilPaid(_ cost: Int, settings: LeaseSettings, now: Instant) -> Int64 {
        let missingTokens = max(0, cost - heldTokens)
        let drift = settings.clockDriftPerMille
        if let wait = terms.trickle.millisecondsUntil(missingTokens, limit, clockDriftPerMille: drift, now: now) {
            return wait
        }
        let missing = limit.units(of: cost - heldTokens)
        // Tokens spent here stay on record, and limit the store's refill to this room, until the store learns of the
        // spending. Then the store adds the refill since the last spend. This code measures the time since then on the
        // slowest possible clock.
        let room = limit.capacityUnits - limit.units(of: outstandingTokens + spentTokens)
        let open = estimate.millisecondsUntil(missing, limit: limit, now: now)
        if missing <= room {
            // This clock may have run fast while the estimate was advanced.
            let sentAt = expiresAt.advanced(byMilliseconds: settings.sendOffsetFromExpiryMilliseconds)
            let carried = max(0, now.milliseconds - sentAt.milliseconds) * drift / 1000
            let wait = LeaseSettings.waitMilliseconds(open &+ carried, clockDriftPerMille: drift)
            return max(1, open, wait &+ Int64(replyMilliseconds))
        }
        let refill = limit.millisecondsToGain(missing - max(0, min(estimate.openUnits, room)))
        let sinceSpend = now.milliseconds - lastSpentAt.milliseconds
        let wait = LeaseSettings.waitMilliseconds(refill, clockDriftPerMille: drift) &- sinceSpend
        return max(1, open, wait &+ Int64(replyMilliseconds))
    }

    /// Advances the state to `now`: trickle tokens arrive, and the tokens of a lease that has ended expire.
    ///
    /// Afterwards ``latestSeenAt`` is `now`, or the later instant that was seen before.
    mutating func advance(clockDriftPerMille: Int64, now: Instant, tally: inout LeaseTokenTally) {
        let now = max(now, latestSeenAt)
        estimate.advance(to: now, limit: limit)
        if case .settled(var terms) = phase, terms.trickle.remainingTokens > 0 {
            heldTokens += terms.trickle.arrive(limit, clockDriftPerMille: clockDriftPerMille, now: now)
            phase = .settled(terms)
        }
        if now >= expiresAt {
            dropTokens(tally: &tally)
            hasStoreRecord = false
        }
    }

    /// Drops the held tokens and the trickle tokens to come; the store counts them as leased until its record expires.
    mutating func dropTokens(tally: inout LeaseTokenTally) {
        tally.expired &+= UInt64(heldTokens + terms.trickle.remainingTokens)
        heldTokens = 0
        guard case .settled(var terms) = phase else { return }
        terms.trickle = TrickleGrant()
        phase = .settled(terms)
    }
}
