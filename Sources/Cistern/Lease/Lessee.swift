internal import DequeModule

/// Every lease that one server holds: events in, decisions and lease requests out.
///
/// It does no IO. Whoever owns it carries each ``LeaseRequest`` to the store, hands the answer to ``settle(_:with:now:)``,
/// and calls the waiting requests back; all after the lock has been let go.
final class Lessee: Sendable {
    /// Called with the decision of a request that had to wait.
    typealias Resume = @Sendable (Decision) -> Void

    /// A request that waits for the store.
    private struct Waiter: Sendable {
        let costMicrotokens: Int64
        let since: Instant
        let resume: Resume
    }

    /// The requests that wait for one organisation.
    ///
    /// The first `included` were counted in the request in flight.
    private struct Queue: Sendable {
        var waiters: Deque<Waiter> = []
        var included = 0
    }

    private struct State: ~Copyable {
        var table: BucketTable<Lease>
        /// Queues of the organisations with a request in flight, by position in the table.
        var queues: [Int: Queue] = [:]
        /// The number of the last request of any organisation here.
        ///
        /// It is not kept for each, since an organisation that is evicted and comes back must go on counting up.
        var sequence: UInt64 = 0
        var decisions = DecisionTally()
        var tokens = LeaseTokenTally()
        var evictions: UInt64 = 0
    }

    /// How many entries one insertion into a full shard looks at for one that may go.
    private static let evictionSteps = 64

    private let limits: Limits
    private let lessee: String
    private let settings: LimiterSettings
    private let hash: SipHash
    private let shards: Shards<State>

    init(limits: Limits, lessee: String, settings: LimiterSettings, hash: SipHash) {
        self.limits = limits
        self.lessee = lessee
        self.settings = settings
        self.hash = hash
        shards = Shards(capacity: settings.maximumBuckets) { State(table: BucketTable(capacity: $0)) }
    }

    // MARK: Deciding

    /// Decides from memory, or returns nil where the store must be asked.
    func decide(_ organization: Span<UInt8>, costMicrotokens: Int64, now: Instant) -> Decision? {
        let hash = hash(organization)
        return shards.withShard(of: hash) { state in
            guard let position = state.table.find(organization, hash: hash) else { return nil }
            let decision = state.table[position].decide(
                costMicrotokens: costMicrotokens, now: now, tally: &state.tokens)
            if let decision { state.decisions.count(decision.outcome) }
            return decision
        }
    }

    /// Decides by the failure policy, for an organisation whose node is known to be down.
    func decideWithoutStore(_ organization: Span<UInt8>, now: Instant) -> Decision {
        let hash = hash(organization)
        return shards.withShard(of: hash) { state in
            let limit =
                state.table.find(organization, hash: hash).map { state.table[$0].limit }
                ?? limits.limit(of: organization)
            let decision = policyDecision(limit, now: now)
            state.decisions.count(decision.outcome)
            return decision
        }
    }

    /// What became of a request that memory alone could not decide.
    enum Admission {
        /// It is decided after all.
        case decided(Decision)
        /// It waits for a request already in flight.
        case waiting
        /// It waits for this request, which must be sent.
        case ask(LeaseRequest)
    }

    /// Takes in a request that memory alone could not decide, to wait for the store.
    func admit(
        _ organization: Span<UInt8>, costMicrotokens: Int64, now: Instant, resume: @escaping Resume
    ) -> Admission {
        let hash = hash(organization)
        return shards.withShard(of: hash) { state in
            guard let position = position(of: organization, hash: hash, in: &state, now: now) else {
                state.decisions.count(.refused)
                return .decided(.refused(limits.limit(of: organization), at: now))
            }
            // Another thread may have leased tokens between the first look and this one.
            let decision = state.table[position].decide(
                costMicrotokens: costMicrotokens, now: now, tally: &state.tokens)
            if let decision {
                state.decisions.count(decision.outcome)
                return .decided(decision)
            }
            var queue = state.queues[position] ?? Queue()
            guard queue.waiters.count < settings.maximumWaitersPerOrganization else {
                state.decisions.count(.refused)
                return .decided(.refused(state.table[position].limit, at: now))
            }
            queue.waiters.append(Waiter(costMicrotokens: costMicrotokens, since: now, resume: resume))
            state.queues[position] = queue
            if state.table[position].isAsking { return .waiting }
            return .ask(ask(at: position, in: &state, now: now))
        }
    }

    // MARK: Answers

    /// What to do once an answer has been taken in, after the lock has been let go.
    struct Settlement {
        /// Requests that waited, and how they came out.
        var decided: [(resume: Resume, decision: Decision)] = []
        /// The next request to send, for those that came too late for this one.
        var next: LeaseRequest?
    }

    /// Takes in the answer to a request, or that there will be none.
    ///
    /// An answer to any but the request in flight is ignored: it is late or a duplicate, and the store goes on
    /// counting its tokens until they expire.
    func settle(_ request: LeaseRequest, with result: Result<Grant, LeaseFailure>, now: Instant) -> Settlement {
        let organization = request.organization.span
        let hash = hash(organization)
        return shards.withShard(of: hash) { state in
            guard let position = state.table.find(organization, hash: hash),
                state.table[position].isAsking, state.table[position].sequence == request.sequence
            else { return Settlement() }
            var queue = state.queues.removeValue(forKey: position) ?? Queue()
            switch result {
            case .success(let grant):
                state.table[position].settle(
                    grant, reported: request.held, sentAt: request.sentAt, settings: settings.lease,
                    tally: &state.tokens)
                return settleGranted(&queue, at: position, in: &state, now: now)
            case .failure:
                state.table[position].fail(now: now)
                return settleFailed(queue, limit: state.table[position].limit, in: &state, now: now)
            }
        }
    }

    /// Those counted in the request get their answer now, whatever it is: the store has spoken on them.
    ///
    /// Those that came later are decided if memory can, and asked for if not.
    private func settleGranted(
        _ queue: inout Queue, at position: Int, in state: inout State, now: Instant
    ) -> Settlement {
        var settlement = Settlement()
        var remaining = Queue()
        for (index, waiter) in queue.waiters.enumerated() {
            var decision = state.table[position].decide(
                costMicrotokens: waiter.costMicrotokens, now: now, tally: &state.tokens)
            if decision == nil, index < queue.included {
                decision = state.table[position].denial(costMicrotokens: waiter.costMicrotokens, now: now)
            }
            if let decision {
                state.decisions.count(decision.outcome)
                settlement.decided.append((waiter.resume, decision))
            } else {
                remaining.waiters.append(waiter)
            }
        }
        if !remaining.waiters.isEmpty {
            state.queues[position] = remaining
            settlement.next = ask(at: position, in: &state, now: now)
        }
        return settlement
    }

    private func settleFailed(_ queue: Queue, limit: Limit, in state: inout State, now: Instant) -> Settlement {
        var settlement = Settlement()
        for waiter in queue.waiters {
            let decision = policyDecision(limit, now: now)
            state.decisions.count(decision.outcome)
            settlement.decided.append((waiter.resume, decision))
        }
        return settlement
    }

    private func policyDecision(_ limit: Limit, now: Instant) -> Decision {
        switch settings.failurePolicy {
        case .open: .unmetered(limit, at: now)
        case .closed: .refused(limit, at: now)
        }
    }

    // MARK: Requests

    /// The request for all that wait at a position.
    ///
    /// Its deadline is that of the one who has waited longest, so that nobody waits longer than the timeout, even for a
    /// second request.
    private func ask(at position: Int, in state: inout State, now: Instant) -> LeaseRequest {
        var queue = state.queues[position] ?? Queue()
        queue.included = queue.waiters.count
        state.queues[position] = queue
        // Summed in tokens: in microtokens a full queue of the highest costs would not fit.
        let waitingTokens = queue.waiters.reduce(into: 0) { $0 += Int($1.costMicrotokens / Limit.microtokensPerToken) }
        state.sequence += 1
        let ask = state.table[position].ask(
            waitingTokens: waitingTokens, sequence: state.sequence,
            settings: settings.lease, now: now)
        return request(for: ask, at: position, in: state, since: queue.waiters.first?.since ?? now, now: now)
    }

    private func request(
        for ask: Lease.Ask, at position: Int, in state: borrowing State, since: Instant, now: Instant
    ) -> LeaseRequest {
        LeaseRequest(
            organization: state.table.key(at: position), limit: state.table[position].limit, lessee: lessee,
            sequence: state.table[position].sequence, held: ask.held, quietMilliseconds: ask.quietMilliseconds,
            returned: ask.returned, needed: ask.needed, wanted: ask.wanted,
            durationMilliseconds: settings.lease.durationMilliseconds, sentAt: now,
            deadline: since.advanced(byMilliseconds: settings.lease.timeoutMilliseconds))
    }

    /// Requests that give every lease back, for a server that is about to stop.
    func giveBackAll(now: Instant) -> [LeaseRequest] {
        var requests: [LeaseRequest] = []
        shards.forEach { state in
            for position in state.table.positions {
                let sequence = state.sequence + 1
                let ask = state.table[position].giveBack(
                    sequence: sequence, settings: settings.lease, now: now, tally: &state.tokens)
                guard let ask else { continue }
                state.sequence = sequence
                requests.append(request(for: ask, at: position, in: state, since: now, now: now))
            }
        }
        return requests
    }

    // MARK: Memory

    /// The position of an organisation, which is added if it is new; nil where there is no room for it.
    ///
    /// An organisation that holds nothing makes room first. Failing that one with tokens goes: they are lost, and the
    /// store counts them until they expire, so that no token is ever made by forgetting. Only those with a request in
    /// flight stay.
    private func position(
        of organization: Span<UInt8>, hash: UInt64, in state: inout State, now: Instant
    ) -> Int? {
        if let position = state.table.find(organization, hash: hash) { return position }
        if state.table.isFull {
            var lost = 0
            let found =
                state.table.evict(steps: Self.evictionSteps) { $0.isIdle(now: now) }
                || state.table.evict(steps: Self.evictionSteps) { lease in
                    lost = lease.held
                    return !lease.isAsking
                }
            guard found else { return nil }
            state.tokens.expired &+= UInt64(lost)
            state.evictions &+= 1
        }
        let lease = Lease(limit: limits.limit(of: organization), now: now)
        return state.table.insert(organization, hash: hash, value: lease)
    }

    /// Adds what this lessee has counted to `statistics`.
    func add(to statistics: inout LimiterStatistics) {
        shards.forEach { state in
            statistics.decisions += state.decisions
            statistics.leaseTokens += state.tokens
            statistics.evictions &+= state.evictions
            statistics.cachedBuckets += state.table.count
        }
    }
}
