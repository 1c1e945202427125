/// What becomes of requests that neither memory nor the store decides.
extension Lessee {
    /// Decides for an organisation that is not in memory and whose node is out of reach.
    func decideUnknown(
        _ organization: Span<UInt8>, hash: UInt64, home: BucketHome, costMicrotokens: Int64, in state: inout State,
        now: Instant
    ) -> Decision {
        guard failurePolicy == .local else {
            return decideUnmetered(state.limits.limit(of: organization), in: &state, now: now)
        }
        switch place(organization, hash: hash, in: &state, now: now) {
        case .at(let position):
            return decideByPolicy(costMicrotokens: costMicrotokens, home: home, at: position, in: &state, now: now)
        case .full: return decideUnmetered(state.limits.limit(of: organization), in: &state, now: now)
        case .tooManyNewKeys(let milliseconds):
            return newKeyDenial(organization, milliseconds, in: &state, now: now)
        }
    }

    /// Denies a new organization for want of the right to come in, counted.
    func newKeyDenial(
        _ organization: Span<UInt8>, _ retryAfterMilliseconds: Int64, in state: inout State, now: Instant
    ) -> Decision {
        state.decisions.newKeysDenied &+= 1
        let denial = Decision.denied(
            state.limits.limit(of: organization), balanceMicrotokens: 0,
            retryAfterMilliseconds: retryAfterMilliseconds, at: now)
        return counted(denial, in: &state)
    }

    /// Decides for an organisation in memory whose node is out of reach, or does not answer.
    func decideByPolicy(
        costMicrotokens: Int64, home: BucketHome, at position: Int, in state: inout State, now: Instant
    ) -> Decision {
        guard failurePolicy == .local, let share = store.localShare(of: home) else {
            return decideUnmetered(state.table[position].limit, in: &state, now: now)
        }
        let decision = decideLocally(
            costMicrotokens: costMicrotokens, home: home, share: share, at: position, in: &state, now: now)
        return counted(decision, in: &state)
    }

    /// Decides where nothing can be metered: every policy but `open` turns away.
    private func decideUnmetered(_ limit: Limit, in state: inout State, now: Instant) -> Decision {
        guard failurePolicy == .open else { return refusal(limit, in: &state, now: now) }
        return counted(.unmetered(limit, at: now), in: &state)
    }

    private func decideLocally(
        costMicrotokens: Int64, home: BucketHome, share: LocalShare, at position: Int, in state: inout State,
        now: Instant
    ) -> Decision {
        var bucket: LocalBucket
        if let known = state.localBuckets[position], known.home == home, known.share == share {
            bucket = known
        } else {
            // None yet, or the node was back meanwhile and has been lost anew.
            bucket = LocalBucket(
                home: home, share: share, spentAt: state.table[position].spentAt, settings: state.longest)
        }
        let decision = bucket.decide(
            state.table[position].limit, costMicrotokens: costMicrotokens, settings: state.longest, now: now)
        if decision.isAllowed { state.table[position].noteSpending(now: now) }
        state.localBuckets[position] = bucket
        return decision
    }

    /// Turns a request away, counted.
    func refusal(_ limit: Limit, in state: inout State, now: Instant) -> Decision {
        counted(.refused(limit, at: now), in: &state)
    }

    /// Counts a decision; where the limit is in shadow, nobody is turned away.
    func counted(_ decision: Decision, in state: inout State) -> Decision {
        let decision = decision.limit.isShadow ? decision.inShadow : decision
        state.decisions.count(decision)
        return decision
    }
}
