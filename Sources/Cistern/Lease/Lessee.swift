internal import DequeModule

/// Every lease that one server holds: events in, decisions and lease requests out.
///
/// It does no IO, and asks the store only what that answers from memory: where a bucket is, and whether it can be reached.
/// Whoever owns it carries each ``LeaseRequest`` to the store, hands the answer to ``settle(_:with:now:)``, and calls the
/// waiting requests back; all after the lock has been let go.
final class Lessee: Sendable {
    /// Called with the decision of a request that had to wait.
    typealias Resume = @Sendable (Decision) -> Void

    /// A request that waits for the store.
    struct Waiter: Sendable {
        let costMicrotokens: Int64
        let since: Instant
        let resume: Resume
    }

    /// The requests that wait for one organisation.
    ///
    /// The first `included` were counted in the request in flight.
    struct Queue: Sendable {
        var waiters: Deque<Waiter> = []
        var included = 0
    }

    struct State: ~Copyable, TableState {
        // What every decision touches stands first, beside the lock.
        var paid = PaidTally()
        var table: BucketTable<Lease>
        var tokens = LeaseTokenTally()
        var decisions = DecisionTally()
        /// Queues of the organisations with a request in flight, by position in the table.
        var queues: [Int: Queue] = [:]
        /// Positions with tokens that may fall idle, by when to look at them.
        var watched: Deque<WatchedPlace> = []
        /// Buckets of organisations whose node is out of reach, under the policy `local`, by position in the table.
        var localBuckets: [Int: LocalBucket] = [:]
        /// Requests that give back what was leased of buckets that have been left for others.
        var partings: [LeaseRequest] = []
        /// The number of the last request of any organisation here.
        ///
        /// It is not kept for each, since an organisation that is evicted and comes back must go on counting up.
        var sequence: UInt64 = 0
        /// When the last token was spent of any organisation that has been forgotten.
        ///
        /// One that comes back has spent nothing since, whenever it was forgotten.
        var evictedSpentAt = Instant(nanoseconds: 0)
        var limits: Limits
        var lease: LeaseSettings
        /// The longest times of all lease settings that have been in force: what may still be running anywhere.
        var longest: LeaseSettings
        /// How long those waited that waited for the store.
        var waits = LatencyHistogram()
        var evictions: UInt64 = 0
    }

    let store: any LeaseStore
    private let lessee: String
    private let maximumWaiters: Int
    let failurePolicy: FailurePolicy
    private let sizing: any LeaseSizing
    let hash: NameHash
    let shards: Shards<State>
    private let newKeys: NewKeyBudget?

    init(
        limits: Limits, store: any LeaseStore, lessee: String, settings: LimiterSettings, sizing: any LeaseSizing,
        hash: NameHash
    ) {
        self.store = store
        self.lessee = lessee
        maximumWaiters = settings.maximumWaitersPerOrganization
        failurePolicy = settings.failurePolicy
        self.sizing = sizing
        self.hash = hash
        newKeys = NewKeyBudget(perSecond: settings.maximumNewKeysPerSecond)
        let pool = BucketTable<Lease>.Pool()
        shards = Shards(capacity: settings.maximumBuckets) {
            State(
                table: BucketTable(capacity: $0, pool: pool), limits: limits, lease: settings.lease,
                longest: settings.lease)
        }
    }

    // MARK: Asking

    /// Takes in a request that memory alone could not decide, to wait for the store.
    func admit(
        _ organization: Span<UInt8>, costMicrotokens: Int64, now: Instant, resume: @escaping Resume
    ) -> Admission {
        let hash = hash(organization)
        return shards.withShard(of: hash) { state in
            let position: Int
            switch place(organization, hash: hash, in: &state, now: now) {
            case .at(let found): position = found
            case .full: return .decided(refusal(state.limits.limit(of: organization), in: &state, now: now))
            case .tooManyNewKeys(let milliseconds):
                return .decided(newKeyDenial(organization, milliseconds, in: &state, now: now))
            }
            // Another thread may have leased tokens between the first look and this one.
            let decision = state.table[position].decide(
                costMicrotokens: costMicrotokens, settings: state.lease, now: now, tally: &state.tokens)
            if let decision {
                return .decided(counted(decision, in: &state))
            }
            let waiting = state.queues[position]?.waiters.count ?? 0
            guard waiting < maximumWaiters else {
                return .decided(refusal(state.table[position].limit, in: &state, now: now))
            }
            let waiter = Waiter(costMicrotokens: costMicrotokens, since: now, resume: resume)
            state.queues[position, default: Queue()].waiters.append(waiter)
            state.decisions.waited &+= 1
            if state.table[position].isAsking { return .waiting }
            return .ask(ask(at: position, in: &state, now: now))
        }
    }

    /// The request that renews a lease before it runs dry; nil where another thread was quicker.
    func renew(_ organization: Span<UInt8>, now: Instant) -> LeaseRequest? {
        let hash = hash(organization)
        return shards.withShard(of: hash) { state in
            guard let position = state.table.find(organization, hash: hash),
                state.table[position].isRunningDry(now: now)
            else { return nil }
            return ask(at: position, in: &state, now: now)
        }
    }

    // MARK: Answers

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
            // What was asked for under other settings than today's counts as those said.
            var lease = state.lease
            lease.durationMilliseconds = request.durationMilliseconds
            for waiter in queue.waiters { state.waits.record(nanoseconds: now.nanoseconds - waiter.since.nanoseconds) }
            guard let grant = Self.usable(result, for: request, lease: lease, now: now) else {
                state.table[position].fail()
                watch(position, from: now, in: &state)
                return settleFailed(queue, at: position, in: &state, now: now)
            }
            if !state.localBuckets.isEmpty { state.localBuckets[position] = nil }
            state.table[position].settle(
                grant, sentAt: request.sentAt, settings: lease, now: now, tally: &state.tokens)
            let settlement = settleGranted(&queue, at: position, in: &state, now: now)
            if state.table[position].limit != request.limit {
                // Granted under the limit of before: those that waited are paid, and that is all.
                state.table[position].change(
                    to: state.table[position].limit, from: request.limit, tally: &state.tokens)
            }
            turn(position, to: store.home(of: organization), in: &state, now: now)
            watch(position, from: now, in: &state)
            return settlement
        }
    }

    /// The grant, if there is one that can be used: it has not lapsed on its way, and its numbers can be.
    private static func usable(
        _ result: Result<Grant, LeaseFailure>, for request: LeaseRequest, lease: LeaseSettings, now: Instant
    ) -> Grant? {
        let capacity = request.limit.capacity
        guard case .success(let grant) = result, now < lease.expiry(sentAt: request.sentAt),
            0...capacity ~= grant.tokens, 0...request.held ~= grant.held,
            0...(capacity - grant.tokens) ~= grant.paced, (grant.paced == 0) == (grant.paceMilliseconds <= 0),
            0...min(lease.durationMilliseconds, Pace.longestMilliseconds) ~= grant.paceMilliseconds,
            grant.openMicrotokens.magnitude <= UInt64(Limit.maximumCapacity) * UInt64(Limit.microtokensPerToken),
            0...request.limit.refillMicrotokensPerMillisecond ~= grant.openRefillMicrotokensPerMillisecond,
            0...Limit.maximumCapacity ~= grant.outstanding
        else { return nil }
        return grant
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
                costMicrotokens: waiter.costMicrotokens, settings: state.lease, now: now, tally: &state.tokens)
            if decision == nil, index < queue.included {
                decision = state.table[position].deny(
                    costMicrotokens: waiter.costMicrotokens, settings: state.lease, now: now)
            }
            if let decision {
                settlement.decided.append((waiter.resume, counted(decision, in: &state)))
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

    private func settleFailed(_ queue: Queue, at position: Int, in state: inout State, now: Instant) -> Settlement {
        var settlement = Settlement()
        for waiter in queue.waiters {
            let decision = decideByPolicy(
                costMicrotokens: waiter.costMicrotokens, home: state.table[position].home, at: position, in: &state,
                now: now)
            settlement.decided.append((waiter.resume, decision))
        }
        return settlement
    }

    // MARK: Requests

    /// The request for those that wait at a position.
    ///
    /// Its deadline is that of the one who has waited longest, so that nobody waits longer than the timeout, even for a
    /// second request.
    private func ask(at position: Int, in state: inout State, now: Instant) -> LeaseRequest {
        let name = state.table.key(at: position)
        turn(position, to: store.home(of: name.span), in: &state, now: now)
        let (waiting, included) = Self.runs(of: state.queues[position]?.waiters ?? [])
        state.queues[position]?.included = included
        state.sequence += 1
        let ask = state.table[position].ask(
            waitingTokens: waiting.reduce(0) { $0 + $1.cost * $1.count }, sequence: state.sequence,
            sizing: sizing, settings: state.lease, now: now, tally: &state.tokens)
        let since = state.queues[position]?.waiters.first?.since ?? now
        return request(for: ask, of: name, waiting: waiting, at: position, in: state, since: since, now: now)
    }

    /// How many stretches of equal costs one request carries; the rest waits for the next.
    private static let maximumRuns = 64

    private static func runs(of waiters: Deque<Waiter>) -> (runs: [WaitingCost], included: Int) {
        var runs: [WaitingCost] = []
        for (index, waiter) in waiters.enumerated() {
            let cost = Int(waiter.costMicrotokens / Limit.microtokensPerToken)
            if let last = runs.indices.last, runs[last].cost == cost {
                runs[last].count += 1
            } else if runs.count < maximumRuns {
                runs.append(WaitingCost(cost: cost, count: 1))
            } else {
                return (runs, index)
            }
        }
        return (runs, waiters.count)
    }

    func request(
        for ask: Lease.Ask, of name: [UInt8], waiting: [WaitingCost], at position: Int, in state: borrowing State,
        since: Instant, now: Instant
    ) -> LeaseRequest {
        LeaseRequest(
            organization: name, home: state.table[position].home,
            limit: state.table[position].limit, lessee: lessee, sequence: state.table[position].sequence,
            acknowledged: state.table[position].acknowledged,
            held: ask.held, quietMilliseconds: ask.quietMilliseconds, earlySpent: ask.earlySpent,
            earlyMilliseconds: ask.earlyMilliseconds, returned: ask.returned, waiting: waiting, wish: ask.wish,
            durationMilliseconds: state.lease.durationMilliseconds, sentAt: now,
            deadline: since.advanced(byMilliseconds: state.lease.timeoutMilliseconds))
    }

    // MARK: Memory

    /// Where an organization is kept; it is added if it is new and there is room for it.
    ///
    /// An organisation that holds nothing makes room first. Failing that one with tokens goes: they are lost, and the
    /// store counts them until they expire, so that no token is ever made by forgetting. Only those with a request in
    /// flight stay.
    func place(
        _ organization: Span<UInt8>, hash: UInt64, in state: inout State, now: Instant
    ) -> Placement {
        if let position = state.table.find(organization, hash: hash) { return .at(position) }
        if let milliseconds = newKeys?.take(now: now) { return .tooManyNewKeys(retryAfterMilliseconds: milliseconds) }
        var isWatched = false
        if state.table.isFull {
            let gone =
                state.table.evict(hash: self.hash.callAsFunction) { $0.isIdle(now: now) }
                ?? state.table.evict(hash: self.hash.callAsFunction) { !$0.isAsking }
            guard let gone else { return .full }
            state.tokens.expired &+= UInt64(gone.leased)
            state.evictions &+= 1
            state.evictedSpentAt = max(state.evictedSpentAt, gone.spentAt)
            // The newcomer gets the place that has become free, and with it the place's entry among the watched.
            isWatched = gone.isWatched
        }
        var lease = Lease(
            limit: state.limits.limit(of: organization), home: store.home(of: organization), sequence: state.sequence,
            spentAt: state.evictedSpentAt, now: now)
        lease.isWatched = isWatched
        let position = shards.insert(organization, hash: hash, value: lease, into: &state)
        if !state.localBuckets.isEmpty { state.localBuckets[position] = nil }
        return .at(position)
    }

    /// Tokens of an organisation that are leased here and not spent; at an instant, those that have not lapsed by then.
    func leased(_ organization: Span<UInt8>, now: Instant?) -> Int {
        let hash = hash(organization)
        return shards.withShard(of: hash) { state in
            guard let position = state.table.find(organization, hash: hash) else { return 0 }
            return now.map { state.table[position].leased(now: $0) } ?? state.table[position].leased
        }
    }

    /// Adds what this lessee has counted to `statistics`.
    func add(to statistics: inout LimiterStatistics) {
        shards.forEach { state in
            statistics.decisions += state.decisions
            statistics.leaseTokens += state.tokens
            statistics.decisions.allowed &+= state.paid.requests
            statistics.leaseTokens.spent &+= state.paid.tokens
            statistics.waits += state.waits
            statistics.evictions &+= state.evictions
            statistics.cachedBuckets += state.table.count
        }
    }
}
