internal import DequeModule

/// Every lease that one server holds: events in, decisions and lease requests out.
///
/// It does no IO, and asks the store only what that answers from memory: where a bucket is, and whether it can be reached.
/// Whoever owns it carries each ``LeaseRequest`` to the store, hands the answer to ``settle(_:with:now:)``, and calls the
/// waiting requests back; all after the lock has been let go.
final class LeaseManager: Sendable {
    /// Called with the decision of a request that had to wait.
    typealias Resume = @Sendable (Decision) -> Void

    /// A request that waits for the store.
    struct Waiter: Sendable {
        let costMicrotokens: Int64
        let since: Instant
        let resume: Resume
    }

    /// The requests that wait for one organization.
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
        /// Queues of the organizations with a request in flight, by position in the table.
        var queues: [Int: Queue] = [:]
        /// Positions with tokens that may fall idle, by when to look at them.
        var idleChecks: Deque<IdleCheck> = []
        /// Buckets of organizations whose node is out of reach, under the policy `local`, by position in the table.
        var localBuckets: [Int: LocalBucket] = [:]
        /// Requests that give back what was leased of buckets that have been left for others.
        var pendingReturns: [LeaseRequest] = []
        /// The number of the last request of any organization here.
        ///
        /// It is not kept for each, since an organization that is evicted and comes back must go on counting up.
        var sequence: UInt64 = 0
        /// When the last token was spent of any organization that has been forgotten.
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
    private let lesseeID: String
    private let maximumWaiters: Int
    let failurePolicy: FailurePolicy
    private let sizing: any LeaseSizing
    let hash: NameHash
    let shards: LockStripedTable<State>
    private let newKeys: NewKeyBudget?

    init(
        limits: Limits, store: any LeaseStore, lesseeID: String, settings: LimiterSettings, sizing: any LeaseSizing,
        hash: NameHash
    ) {
        self.store = store
        self.lesseeID = lesseeID
        maximumWaiters = settings.maximumWaitersPerKey
        failurePolicy = settings.failurePolicy
        self.sizing = sizing
        self.hash = hash
        newKeys = NewKeyBudget(perSecond: settings.maximumNewKeysPerSecond)
        let pool = BucketTable<Lease>.Pool()
        shards = LockStripedTable(capacity: settings.maximumBuckets) {
            State(
                table: BucketTable(capacity: $0, pool: pool), limits: limits, lease: settings.lease,
                longest: settings.lease)
        }
    }

    // MARK: Asking

    /// Takes in a request that memory alone could not decide, to wait for the store.
    func admit(
        _ key: Span<UInt8>, costMicrotokens: Int64, now: Instant, resume: @escaping Resume
    ) -> Admission {
        let hash = hash(key)
        return shards.withShard(of: hash) { state in
            let index: Int
            switch place(key, hash: hash, in: &state, now: now) {
            case .at(let found): index = found
            case .full: return .decided(refusal(state.limits.limit(of: key), in: &state, now: now))
            case .tooManyNewKeys(let milliseconds):
                return .decided(newKeyDenial(key, milliseconds, in: &state, now: now))
            }
            // Another thread may have leased tokens between the first look and this one.
            let decision = state.table[index].decide(
                costMicrotokens: costMicrotokens, settings: state.lease, now: now, tally: &state.tokens)
            if let decision {
                return .decided(counted(decision, in: &state))
            }
            let waiting = state.queues[index]?.waiters.count ?? 0
            guard waiting < maximumWaiters else {
                return .decided(refusal(state.table[index].limit, in: &state, now: now))
            }
            let waiter = Waiter(costMicrotokens: costMicrotokens, since: now, resume: resume)
            state.queues[index, default: Queue()].waiters.append(waiter)
            state.decisions.waited &+= 1
            if state.table[index].isRequesting { return .waiting }
            return .send(makeRequest(at: index, in: &state, now: now))
        }
    }

    /// The request that renews a lease before it runs dry; nil where another thread was quicker.
    func renew(_ key: Span<UInt8>, now: Instant) -> LeaseRequest? {
        let hash = hash(key)
        return shards.withShard(of: hash) { state in
            guard let index = state.table.find(key, hash: hash),
                state.table[index].isRunningDry(now: now)
            else { return nil }
            return makeRequest(at: index, in: &state, now: now)
        }
    }

    // MARK: Answers

    /// Takes in the answer to a request, or that there will be none.
    ///
    /// An answer to any but the request in flight is ignored: it is late or a duplicate, and the store goes on
    /// counting its tokens until they expire.
    func settle(_ request: LeaseRequest, with result: Result<Grant, LeaseFailure>, now: Instant) -> Settlement {
        let key = request.key.span
        let hash = hash(key)
        return shards.withShard(of: hash) { state in
            guard let index = state.table.find(key, hash: hash),
                state.table[index].isRequesting, state.table[index].sequence == request.sequence
            else { return Settlement() }
            var queue = state.queues.removeValue(forKey: index) ?? Queue()
            // What was asked for under other settings than today's counts as those said.
            var lease = state.lease
            lease.durationMilliseconds = request.durationMilliseconds
            for waiter in queue.waiters { state.waits.record(nanoseconds: now.nanoseconds - waiter.since.nanoseconds) }
            guard let grant = Self.usable(result, for: request, lease: lease, now: now) else {
                state.table[index].fail()
                scheduleIdleCheck(index, from: now, in: &state)
                return settleFailed(queue, at: index, in: &state, now: now)
            }
            if !state.localBuckets.isEmpty { state.localBuckets[index] = nil }
            state.table[index].settle(
                grant, sentAt: request.sentAt, settings: lease, now: now, tally: &state.tokens)
            let settlement = settleGranted(&queue, at: index, in: &state, now: now)
            if state.table[index].limit != request.limit {
                // Granted under the limit of before: those that waited are paid, and that is all.
                state.table[index].change(
                    to: state.table[index].limit, from: request.limit, tally: &state.tokens)
            }
            rehome(index, to: store.partition(of: key), in: &state, now: now)
            scheduleIdleCheck(index, from: now, in: &state)
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
            0...(capacity - grant.tokens) ~= grant.trickleTokens,
            (grant.trickleTokens == 0) == (grant.trickleMilliseconds <= 0),
            0...min(lease.durationMilliseconds, TrickleGrant.longestMilliseconds) ~= grant.trickleMilliseconds,
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
        _ queue: inout Queue, at index: Int, in state: inout State, now: Instant
    ) -> Settlement {
        var settlement = Settlement()
        var remaining = Queue()
        for (order, waiter) in queue.waiters.enumerated() {
            var decision = state.table[index].decide(
                costMicrotokens: waiter.costMicrotokens, settings: state.lease, now: now, tally: &state.tokens)
            if decision == nil, order < queue.included {
                decision = state.table[index].deny(
                    costMicrotokens: waiter.costMicrotokens, settings: state.lease, now: now)
            }
            if let decision {
                settlement.decided.append((waiter.resume, counted(decision, in: &state)))
            } else {
                remaining.waiters.append(waiter)
            }
        }
        if !remaining.waiters.isEmpty {
            state.queues[index] = remaining
            settlement.next = makeRequest(at: index, in: &state, now: now)
        }
        return settlement
    }

    private func settleFailed(_ queue: Queue, at index: Int, in state: inout State, now: Instant) -> Settlement {
        var settlement = Settlement()
        for waiter in queue.waiters {
            let decision = decideByPolicy(
                costMicrotokens: waiter.costMicrotokens, partition: state.table[index].partition, at: index, in: &state,
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
    private func makeRequest(at index: Int, in state: inout State, now: Instant) -> LeaseRequest {
        let name = state.table.key(at: index)
        rehome(index, to: store.partition(of: name.span), in: &state, now: now)
        let (waiting, included) = Self.runs(of: state.queues[index]?.waiters ?? [])
        state.queues[index]?.included = included
        state.sequence += 1
        let report = state.table[index].beginRequest(
            waitingTokens: waiting.reduce(0) { $0 + $1.cost * $1.count }, sequence: state.sequence,
            sizing: sizing, settings: state.lease, now: now, tally: &state.tokens)
        let since = state.queues[index]?.waiters.first?.since ?? now
        return request(for: report, of: name, waiting: waiting, at: index, in: state, since: since, now: now)
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
        for report: Lease.Report, of name: [UInt8], waiting: [WaitingCost], at index: Int, in state: borrowing State,
        since: Instant, now: Instant
    ) -> LeaseRequest {
        LeaseRequest(
            key: name, partition: state.table[index].partition,
            limit: state.table[index].limit, lesseeID: lesseeID, sequence: state.table[index].sequence,
            acknowledged: state.table[index].acknowledged,
            held: report.held, unspentMilliseconds: report.unspentMilliseconds, halfSpentTokens: report.halfSpentTokens,
            halfSpentMilliseconds: report.halfSpentMilliseconds, returned: report.returned, waiting: waiting,
            requested: report.requested,
            durationMilliseconds: state.lease.durationMilliseconds, sentAt: now,
            deadline: since.advanced(byMilliseconds: state.lease.timeoutMilliseconds))
    }

    // MARK: Memory

    /// Where an organization is kept; it is added if it is new and there is room for it.
    ///
    /// An organization that holds nothing makes room first. Failing that one with tokens goes: they are lost, and the
    /// store counts them until they expire, so that no token is ever made by forgetting. Only those with a request in
    /// flight stay.
    func place(
        _ key: Span<UInt8>, hash: UInt64, in state: inout State, now: Instant
    ) -> EntryLookup {
        if let index = state.table.find(key, hash: hash) { return .at(index) }
        if let milliseconds = newKeys?.take(now: now) { return .tooManyNewKeys(retryAfterMilliseconds: milliseconds) }
        var hasIdleCheck = false
        if state.table.isFull {
            let gone =
                state.table.evict(hash: self.hash.callAsFunction) { $0.isIdle(now: now) }
                ?? state.table.evict(hash: self.hash.callAsFunction) { !$0.isRequesting }
            guard let gone else { return .full }
            state.tokens.expired &+= UInt64(gone.leased)
            state.evictions &+= 1
            state.evictedSpentAt = max(state.evictedSpentAt, gone.spentAt)
            // The newcomer gets the place that has become free, and with it the place's entry among the watched.
            hasIdleCheck = gone.hasIdleCheck
        }
        var lease = Lease(
            limit: state.limits.limit(of: key), partition: store.partition(of: key), sequence: state.sequence,
            spentAt: state.evictedSpentAt, now: now)
        lease.hasIdleCheck = hasIdleCheck
        let index = shards.insert(key, hash: hash, value: lease, into: &state)
        if !state.localBuckets.isEmpty { state.localBuckets[index] = nil }
        return .at(index)
    }

    /// Tokens of an organization that are leased here and not spent; at an instant, those that have not lapsed by then.
    func leased(_ key: Span<UInt8>, now: Instant?) -> Int {
        let hash = hash(key)
        return shards.withShard(of: hash) { state in
            guard let index = state.table.find(key, hash: hash) else { return 0 }
            return now.map { state.table[index].leased(now: $0) } ?? state.table[index].leased
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
