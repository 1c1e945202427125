/// What memory says to a request.
extension Lessee {
    /// What memory says to a request.
    struct Verdict {
        /// How it came out; nil where the store must be asked.
        var decision: Decision?
        /// Whether to call ``Lessee/renew(_:now:)``, so that no later request has to wait.
        var isRunningDry = false

        init(decision: Decision? = nil, isRunningDry: Bool = false) {
            self.decision = decision
            self.isRunningDry = isRunningDry
        }

        /// That tokens held have paid.
        @inline(__always)
        init(_ answer: Lease.Answer, isRunningDry: Bool) {
            decision = .allowed(answer.limit, balanceMicrotokens: answer.balanceMicrotokens, at: answer.at)
            self.isRunningDry = isRunningDry
        }
    }

    /// Decides from memory, or says that the store must be asked.
    ///
    /// While the node is known to be down the failure policy decides whatever tokens held here do not pay for; what
    /// the store said before counts for nothing then.
    @inline(__always)
    func decide(_ organization: Span<UInt8>, cost: Int, now: Instant) -> Verdict {
        let hash = hash(organization)
        let cost = UInt32(truncatingIfNeeded: cost)
        return shards.withShard(of: hash) { state in
            let found = state.table.update(organization, hash: hash) { lease, position in
                (answer: lease.spendAtOnce(cost: cost, now: now), position: position)
            }
            guard let found else {
                return decideNewcomer(organization, hash: hash, cost: cost, in: &state, now: now)
            }
            guard found.answer.kind != .unpaid else {
                return spend(cost, of: organization, at: found.position, in: &state, now: now)
            }
            return paid(found.answer, cost, at: found.position, in: &state)
        }
    }

    /// Pays a request for which it matters what time has brought; where the tokens held do not suffice, says what else memory
    /// does.
    @inline(never)
    private func spend(
        _ cost: UInt32, of organization: Span<UInt8>, at position: Int, in state: inout State, now: Instant
    ) -> Verdict {
        let answer = state.table[position].spend(
            cost: cost, clockDriftPerMille: state.lease.clockDriftPerMille, now: now, tally: &state.tokens)
        guard answer.kind != .unpaid else {
            return decideUnpaid(
                organization, costMicrotokens: Int64(cost) &* Limit.microtokensPerToken, at: position, in: &state,
                now: now)
        }
        return paid(answer, cost, at: position, in: &state)
    }

    /// Counts a request that tokens held have paid; more are not asked for where nobody can be.
    @inline(__always)
    private func paid(
        _ answer: Lease.Answer, _ cost: UInt32, at position: Int, in state: inout State
    ) -> Verdict {
        state.paid.count(cost)
        let isRunningDry = answer.kind == .paidRunningDry && canBeAsked(state.table[position].home)
        return Verdict(answer, isRunningDry: isRunningDry)
    }

    @inline(never)
    private func canBeAsked(_ home: BucketHome) -> Bool { store.isReachable(home) }

    /// Decides for an organisation that is not in memory, where the store cannot be asked.
    @inline(never)
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

    /// Decides where the tokens held do not suffice.
    @inline(never)
    private func decideUnpaid(
        _ organization: Span<UInt8>, costMicrotokens: Int64, at position: Int, in state: inout State, now: Instant
    ) -> Verdict {
        // What the store said before counts for nothing while it is out of reach; but that it was asked for does.
        let denial = state.table[position].denyFromMemory(costMicrotokens: costMicrotokens)
        guard store.isReachable(state.table[position].home) else {
            // Its bucket may be another one by now.
            let home = store.home(of: organization)
            if home != state.table[position].home, store.isReachable(home) {
                turn(position, to: home, in: &state, now: now)
                return Verdict()
            }
            return Verdict(
                decision: decideByPolicy(
                    costMicrotokens: costMicrotokens, home: home, at: position, in: &state, now: now))
        }
        guard let denial else { return Verdict() }
        return Verdict(
            decision: counted(denial, in: &state), isRunningDry: state.table[position].isRunningDry(now: now))
    }
}
