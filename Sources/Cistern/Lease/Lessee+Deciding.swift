/// What memory says to a request.
extension Lessee {
    /// What memory says to a request.
    struct Verdict {
        /// How it came out; nil where the store must be asked.
        var decision: Decision?
        /// Whether to call ``Lessee/renew(_:now:)``, so that no later request has to wait.
        var isRunningDry = false
    }

    /// Decides from memory, or says that the store must be asked.
    ///
    /// While the node is known to be down the failure policy decides whatever tokens held here do not pay for; what
    /// the store said before counts for nothing then.
    @inline(__always)
    func decide(_ organization: Span<UInt8>, cost: Int, now: Instant) -> Verdict {
        let hash = hash(organization)
        let cost = UInt32(truncatingIfNeeded: cost)
        var verdict = Verdict()
        let answer = shards.withShard(of: hash) { state in
            let found = state.table.update(organization, hash: hash) { lease, position in
                (answer: lease.spendAtOnce(cost: cost, now: now), position: position)
            }
            guard let found else {
                verdict.decision = decideNewcomer(organization, hash: hash, cost: cost, in: &state, now: now)
                return Lease.Answer.unpaid(state.limits.standard, at: now)
            }
            guard found.answer.kind != .unpaid else {
                return spend(cost, of: organization, at: found.position, in: &state, verdict: &verdict, now: now)
            }
            state.paid.count(cost)
            return found.answer.kind == .paid
                ? found.answer : heedingNode(found.answer, of: state.table[found.position].home)
        }
        guard answer.kind != .unpaid else { return verdict }
        return Verdict(
            decision: .allowed(answer.limit, balanceMicrotokens: answer.balanceMicrotokens, at: answer.at),
            isRunningDry: answer.kind == .paidRunningDry)
    }

    /// Pays a request for which it matters what time has brought; where the tokens held do not suffice, the verdict is what
    /// else memory says.
    @inline(never)
    private func spend(
        _ cost: UInt32, of organization: Span<UInt8>, at position: Int, in state: inout State,
        verdict: inout Verdict, now: Instant
    ) -> Lease.Answer {
        let answer = state.table[position].spend(
            cost: cost, clockDriftPerMille: state.lease.clockDriftPerMille, now: now, tally: &state.tokens)
        guard answer.kind != .unpaid else {
            verdict = decideUnpaid(
                organization, costMicrotokens: Int64(cost) &* Limit.microtokensPerToken, at: position, in: &state,
                now: now)
            return answer
        }
        state.paid.count(cost)
        return heedingNode(answer, of: state.table[position].home)
    }

    /// The answer, which asks for no more tokens where nobody can be asked.
    @inline(never)
    private func heedingNode(_ answer: Lease.Answer, of home: BucketHome) -> Lease.Answer {
        var answer = answer
        if answer.kind == .paidRunningDry, !store.isReachable(home) { answer.kind = .paid }
        return answer
    }

    /// Decides for an organisation that is not in memory; nil where the store must be asked.
    @inline(never)
    private func decideNewcomer(
        _ organization: Span<UInt8>, hash: UInt64, cost: UInt32, in state: inout State, now: Instant
    ) -> Decision? {
        let home = store.home(of: organization)
        guard !store.isReachable(home) else { return nil }
        return decideUnknown(
            organization, hash: hash, home: home, costMicrotokens: Int64(cost) &* Limit.microtokensPerToken,
            in: &state, now: now)
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
