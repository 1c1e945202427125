/// What memory says to a request.
extension Lessee {
    /// What memory says to a request.
    struct Verdict {
        /// How it came out; nil where the store must be asked.
        var decision: Decision?
        /// Whether to call ``Lessee/renew(_:now:)``, so that no later request has to wait.
        var isRunningDry = false
    }

    /// Pays a request at once where nothing else becomes of its lease; ``decide(_:hash:cost:now:)`` sees to all others.
    @inline(__always)
    func payAtOnce(_ organization: Span<UInt8>, hash: UInt64, cost: UInt32, now: Instant) -> Payment {
        // Not closures, here and below: of one that it finds too long the compiler makes a call.
        @inline(__always)
        func pay(_ state: inout sending State) -> sending Payment {
            guard let place = takeAtOnce(organization, hash: hash, cost: cost, in: &state, now: now) else {
                return .none
            }
            return state.table[place].payment
        }
        return shards.withShard(of: hash, pay)
    }

    /// As ``payAtOnce(_:hash:cost:now:)``, for who does not ask what is left: it looks at one cache line of the lease.
    @inline(__always)
    func takeAtOnce(_ organization: Span<UInt8>, hash: UInt64, cost: UInt32, now: Instant) -> Bool {
        @inline(__always)
        func take(_ state: inout sending State) -> sending Bool {
            takeAtOnce(organization, hash: hash, cost: cost, in: &state, now: now) != nil
        }
        return shards.withShard(of: hash, take)
    }

    @inline(__always)
    private func takeAtOnce(
        _ organization: Span<UInt8>, hash: UInt64, cost: UInt32, in state: inout State, now: Instant
    ) -> BucketTable<Lease>.Place? {
        guard let place = state.table.findPlace(organization, hash: hash),
            state.table[near: place].spendAtOnce(cost: cost, now: now)
        else { return nil }
        state.paid.count(cost)
        return place
    }

    /// Decides from memory, or says that the store must be asked.
    ///
    /// While the node is known to be down the failure policy decides whatever tokens held here do not pay for; what
    /// the store said before counts for nothing then.
    func decide(_ organization: Span<UInt8>, hash: UInt64, cost: UInt32, now: Instant) -> Verdict {
        shards.withShard(of: hash) { state in
            guard let place = state.table.findPlace(organization, hash: hash) else {
                return decideNewcomer(organization, hash: hash, cost: cost, in: &state, now: now)
            }
            return spend(cost, of: organization, at: place, in: &state, now: now)
        }
    }

    /// Pays a request for which it matters what time or spending has brought about; where the tokens held do not suffice,
    /// says what else memory does.
    private func spend(
        _ cost: UInt32, of organization: Span<UInt8>, at place: BucketTable<Lease>.Place, in state: inout State,
        now: Instant
    ) -> Verdict {
        // Put together once, and taken apart once.
        var lease = state.table[place]
        let payment = lease.spend(
            cost: cost, clockDriftPerMille: state.lease.clockDriftPerMille, now: now, tally: &state.tokens)
        guard payment.isMade else {
            let costMicrotokens = Int64(cost) &* Limit.microtokensPerToken
            // What the store said before counts for nothing while it is out of reach; but that it was asked for does.
            let denial = lease.denyFromMemory(costMicrotokens: costMicrotokens, settings: state.lease)
            state.table[place] = lease
            return store.isReachable(lease.home)
                ? Verdict(
                    decision: denial.map { counted($0, in: &state) },
                    isRunningDry: denial != nil && lease.isRunningDry(now: now))
                : decideUnreachable(organization, costMicrotokens: costMicrotokens, at: place, in: &state, now: now)
        }
        state.table[place] = lease
        state.paid.count(cost)
        let now = lease.latest
        // More are not asked for where nobody can be.
        let isRunningDry = lease.isRunningDry(now: now) && store.isReachable(lease.home)
        return Verdict(decision: payment.decision(at: now), isRunningDry: isRunningDry)
    }

    /// Decides for an organisation that is not in memory, where the store cannot be asked.
    private func decideNewcomer(
        _ organization: Span<UInt8>, hash: UInt64, cost: UInt32, in state: inout State, now: Instant
    ) -> Verdict {
        let home = store.home(of: organization)
        guard !store.isReachable(home) else { return Verdict() }
        let decision = decideUnknown(
            organization, hash: hash, home: home, costMicrotokens: Int64(cost) &* Limit.microtokensPerToken,
            in: &state, now: now)
        return Verdict(decision: decision)
    }

    /// Decides where the tokens held do not suffice and the bucket was out of reach when it was last looked for.
    private func decideUnreachable(
        _ organization: Span<UInt8>, costMicrotokens: Int64, at place: BucketTable<Lease>.Place, in state: inout State,
        now: Instant
    ) -> Verdict {
        let position = state.table.position(of: place)
        // Its bucket may be another one by now.
        let home = store.home(of: organization)
        if home != state.table[place].home, store.isReachable(home) {
            turn(position, to: home, in: &state, now: now)
            return Verdict()
        }
        return Verdict(
            decision: decideByPolicy(
                costMicrotokens: costMicrotokens, home: home, at: position, in: &state, now: now))
    }
}
