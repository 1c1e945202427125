/// What becomes of requests that neither memory nor the store decides.
extension LeaseManager {
    /// Decides for an organization that is not in memory and whose node is out of reach.
    func decideUnknown(
        _ key: Span<UInt8>, hash: UInt64, partition: PartitionID, costMicrotokens: Int64, in state: inout State,
        now: Instant
    ) -> Decision {
        guard failurePolicy == .local else {
            return decideUnmetered(state.limits.limit(of: key), in: &state, now: now)
        }
        switch place(key, hash: hash, in: &state, now: now) {
        case .at(let index):
            return decideByPolicy(
                costMicrotokens: costMicrotokens, partition: partition, at: index, in: &state, now: now)
        case .full: return decideUnmetered(state.limits.limit(of: key), in: &state, now: now)
        case .tooManyNewKeys(let milliseconds):
            return newKeyDenial(key, milliseconds, in: &state, now: now)
        }
    }

    /// Denies a new organization for want of the right to come in, counted.
    func newKeyDenial(
        _ key: Span<UInt8>, _ retryAfterMilliseconds: Int64, in state: inout State, now: Instant
    ) -> Decision {
        state.decisions.newKeysDenied &+= 1
        let denial = Decision.denied(
            state.limits.limit(of: key), balanceMicrotokens: 0,
            retryAfterMilliseconds: retryAfterMilliseconds, at: now)
        return counted(denial, in: &state)
    }

    /// Decides for an organization in memory whose node is out of reach, or does not answer.
    func decideByPolicy(
        costMicrotokens: Int64, partition: PartitionID, at index: Int, in state: inout State, now: Instant
    ) -> Decision {
        guard failurePolicy == .local, let share = store.localFraction(of: partition) else {
            return decideUnmetered(state.table[index].limit, in: &state, now: now)
        }
        let decision = decideLocally(
            costMicrotokens: costMicrotokens, partition: partition, share: share, at: index, in: &state, now: now)
        return counted(decision, in: &state)
    }

    /// Decides where nothing can be metered: every policy but `open` turns away.
    private func decideUnmetered(_ limit: Limit, in state: inout State, now: Instant) -> Decision {
        guard failurePolicy == .open else { return refusal(limit, in: &state, now: now) }
        return counted(.unmetered(limit, at: now), in: &state)
    }

    private func decideLocally(
        costMicrotokens: Int64, partition: PartitionID, share: LocalFraction, at index: Int, in state: inout State,
        now: Instant
    ) -> Decision {
        var bucket: LocalBucket
        if let known = state.localBuckets[index], known.partition == partition, known.share == share {
            bucket = known
        } else {
            // None yet, or the node was back meanwhile and has been lost anew.
            bucket = LocalBucket(
                partition: partition, share: share, spentAt: state.table[index].spentAt, settings: state.longest)
        }
        let decision = bucket.decide(
            state.table[index].limit, costMicrotokens: costMicrotokens, settings: state.longest, now: now)
        if decision.isAllowed { state.table[index].noteSpending(now: now) }
        state.localBuckets[index] = bucket
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
