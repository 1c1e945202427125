/// What memory says to a request.
extension LeaseManager {
    /// What memory says to a request.
    struct Verdict {
        /// How it came out; nil where the store must be asked.
        var decision: Decision?
        /// Whether to call ``LeaseManager/renew(_:now:)``, so that no later request has to wait.
        var isRunningDry = false
    }

    /// Pays a request at once where nothing else becomes of its lease; ``decide(_:hash:cost:now:)`` sees to all others.
    @inline(__always)
    func payHot(_ key: Span<UInt8>, hash: UInt64, cost: UInt32, now: Instant) -> Payment {
        // Not closures, here and below: of one that it finds too long the compiler makes a call.
        @inline(__always)
        func pay(_ state: inout sending State) -> sending Payment {
            guard let pointer = takeHot(key, hash: hash, cost: cost, in: &state, now: now) else {
                return .none
            }
            return state.table[pointer].payment
        }
        return shards.withShard(of: hash, pay)
    }

    /// As ``payHot(_:hash:cost:now:)``, for who does not ask what is left: it looks at one cache line of the lease.
    @inline(__always)
    func takeHot(_ key: Span<UInt8>, hash: UInt64, cost: UInt32, now: Instant) -> Bool {
        @inline(__always)
        func take(_ state: inout sending State) -> sending Bool {
            takeHot(key, hash: hash, cost: cost, in: &state, now: now) != nil
        }
        return shards.withShard(of: hash, take)
    }

    @inline(__always)
    private func takeHot(
        _ key: Span<UInt8>, hash: UInt64, cost: UInt32, in state: inout State, now: Instant
    ) -> BucketTable<Lease>.EntryPointer? {
        guard let pointer = state.table.findEntry(key, hash: hash),
            state.table[hot: pointer].spendHot(cost: cost, now: now)
        else { return nil }
        state.paid.count(cost)
        return pointer
    }

    /// Decides from memory, or says that the store must be asked.
    ///
    /// While the node is known to be down the failure policy decides whatever tokens held here do not pay for; what
    /// the store said before counts for nothing then.
    func decide(_ key: Span<UInt8>, hash: UInt64, cost: UInt32, now: Instant) -> Verdict {
        shards.withShard(of: hash) { state in
            guard let pointer = state.table.findEntry(key, hash: hash) else {
                return decideNewcomer(key, hash: hash, cost: cost, in: &state, now: now)
            }
            return spend(cost, of: key, at: pointer, in: &state, now: now)
        }
    }

    /// Pays a request for which it matters what time or spending has brought about; where the tokens held do not suffice,
    /// says what else memory does.
    private func spend(
        _ cost: UInt32, of key: Span<UInt8>, at pointer: BucketTable<Lease>.EntryPointer, in state: inout State,
        now: Instant
    ) -> Verdict {
        // Put together once, and taken apart once.
        var lease = state.table[pointer]
        let payment = lease.spend(
            cost: cost, clockDriftPerMille: state.lease.clockDriftPerMille, now: now, tally: &state.tokens)
        guard payment.isMade else {
            let costMicrotokens = Int64(cost) &* Limit.microtokensPerToken
            // What the store said before counts for nothing while it is out of reach; but that it was asked for does.
            let denial = lease.denyFromMemory(costMicrotokens: costMicrotokens, settings: state.lease)
            state.table[pointer] = lease
            return store.isReachable(lease.partition)
                ? Verdict(
                    decision: denial.map { counted($0, in: &state) },
                    isRunningDry: denial != nil && lease.isRunningDry(now: now))
                : decideUnreachable(key, costMicrotokens: costMicrotokens, at: pointer, in: &state, now: now)
        }
        state.table[pointer] = lease
        state.paid.count(cost)
        let now = lease.latest
        // More are not asked for where nobody can be.
        let isRunningDry = lease.isRunningDry(now: now) && store.isReachable(lease.partition)
        return Verdict(decision: payment.decision(at: now), isRunningDry: isRunningDry)
    }

    /// Decides for an organization that is not in memory, where the store cannot be asked.
    private func decideNewcomer(
        _ key: Span<UInt8>, hash: UInt64, cost: UInt32, in state: inout State, now: Instant
    ) -> Verdict {
        let partition = store.partition(of: key)
        guard !store.isReachable(partition) else { return Verdict() }
        let decision = decideUnknown(
            key, hash: hash, partition: partition, costMicrotokens: Int64(cost) &* Limit.microtokensPerToken,
            in: &state, now: now)
        return Verdict(decision: decision)
    }

    /// Decides where the tokens held do not suffice and the bucket was out of reach when it was last looked for.
    private func decideUnreachable(
        _ key: Span<UInt8>, costMicrotokens: Int64, at pointer: BucketTable<Lease>.EntryPointer, in state: inout State,
        now: Instant
    ) -> Verdict {
        let index = state.table.index(of: pointer)
        // Its bucket may be another one by now.
        let partition = store.partition(of: key)
        if partition != state.table[pointer].partition, store.isReachable(partition) {
            rehome(index, to: partition, in: &state, now: now)
            return Verdict()
        }
        return Verdict(
            decision: decideByPolicy(
                costMicrotokens: costMicrotokens, partition: partition, at: index, in: &state, now: now))
    }
}
