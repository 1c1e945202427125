internal import DequeModule

/// One shard of the lease table, for one thread at a time: events in, actions out.
///
/// The owner performs an action after it has released the shard's lock.
struct LeaseShard: ~Copyable, TableState {
    /// Values that all shards of a limiter share.
    ///
    /// A shard calls only methods of the store that answer from memory.
    struct Context: Sendable {
        let store: any LeaseStore
        let lesseeID: String
        let maximumWaiters: Int
        let failurePolicy: FailurePolicy
        let sizing: any LeaseSizing
        let hash: KeyHash
        let newKeys: NewKeyBudget?
        let prefetchHints: PrefetchHints
    }

    /// The result of a request on the slow path.
    enum Action {
        case decided(Decision)
        /// The request is decided; the lease request renews the lease and must be sent.
        indirect case decidedAndSend(Decision, LeaseRequest)
        /// Only the store can decide the request, and the caller does not wait.
        case undecided
        /// The request waits for the lease request in flight.
        case wait
        /// The request waits for this lease request, which must be sent.
        indirect case send(LeaseRequest)
    }

    /// The actions that follow from a reply of the store.
    struct Settlement {
        /// Requests that waited, and how they were decided.
        var decided: [(resume: WaitQueues.Resume, decision: Decision)] = []
        /// The next lease request to send, for waiting requests that the reply did not cover.
        var next: LeaseRequest?
    }

    // The fast path uses `paid` and `table`: they share cache lines with the shard's lock.
    var paid = PaidTally()
    var table: BucketTable<PackedLease>
    var tokens = LeaseTokenTally()
    var decisions = DecisionTally()
    var waits = LatencyHistogram()
    var evictions: UInt64 = 0
    var limits: Limits
    var settings: LeaseSettings
    /// The longest duration and horizon of all settings so far: a lease made under earlier settings may still run here
    /// or on another server.
    var longestSettings: LeaseSettings
    var idleChecks = IdleChecks()
    var outageBuckets = OutageBuckets()
    private var queues = WaitQueues()
    private var pendingReturns = PendingReturns()
    /// The number of the last request for any key.
    ///
    /// An evicted key that returns must continue with higher numbers.
    private var sequence: UInt64 = 0
    /// When a token of any evicted key was last spent.
    private var lastSpentAtOfEvicted = Instant(nanoseconds: 0)

    init(table: consuming BucketTable<PackedLease>, limits: Limits, settings: LeaseSettings) {
        self.table = table
        self.limits = limits
        self.settings = settings
        longestSettings = settings
    }

    func lease(at index: Int) -> LeaseState { table[index].state }

    mutating func store(_ lease: LeaseState, at index: Int) { table[index] = PackedLease(lease) }

    // MARK: Requests

    /// Decides a request that the fast path did not pay, or queues it to wait for the store.
    ///
    /// - Parameter resume: called with the decision if the request waits; nil if the caller cannot wait.
    mutating func decide(
        _ key: Span<UInt8>, hash: UInt64, cost: Int, resume: WaitQueues.Resume?, now: Instant, in context: Context
    ) -> Action {
        if let index = table.find(key, hash: hash) {
            return decide(key, at: index, cost: cost, resume: resume, now: now, in: context)
        }
        let partition = context.store.partition(of: key)
        let isReachable = context.store.isReachable(partition)
        // A key that is not in memory holds no tokens. It needs an entry only if the request waits or is metered.
        if isReachable, resume == nil { return .undecided }
        if !isReachable, context.failurePolicy != .local {
            return .decided(decideUnmetered(limits.limit(of: key), policy: context.failurePolicy, now: now))
        }
        switch entry(for: key, hash: hash, now: now, in: context) {
        case .at(let index):
            return isReachable
                ? decide(key, at: index, cost: cost, resume: resume, now: now, in: context)
                : .decided(decideByPolicy(cost: cost, partition: partition, at: index, now: now, in: context))
        case .full:
            let limit = limits.limit(of: key)
            return .decided(
                isReachable ? refuse(limit, now: now) : decideUnmetered(limit, policy: context.failurePolicy, now: now))
        case .tooManyNewKeys(let milliseconds):
            decisions.newKeysDenied &+= 1
            let denial = Decision.denied(
                limits.limit(of: key), balanceUnits: 0, retryAfterMilliseconds: milliseconds, at: now)
            return .decided(counted(denial))
        }
    }

    private mutating func decide(
        _ key: Span<UInt8>, at index: Int, cost: Int, resume: WaitQueues.Resume?, now: Instant, in context: Context
    ) -> Action {
        var lease = lease(at: index)
        let decision = lease.decide(cost: cost, settings: settings, now: now, tally: &tokens)
        store(lease, at: index)
        let isReachable = context.store.isReachable(lease.partition)
        if let decision, decision.outcome == .allowed || isReachable {
            let counted = counted(decision)
            guard isReachable, lease.isRunningDry(now: lease.latestSeenAt) else { return .decided(counted) }
            return .decidedAndSend(counted, makeRequest(at: index, now: now, in: context))
        }
        if !isReachable {
            // The bucket may be in another partition by now.
            let partition = context.store.partition(of: key)
            guard partition != lease.partition, context.store.isReachable(partition) else {
                return .decided(decideByPolicy(cost: cost, partition: partition, at: index, now: now, in: context))
            }
            rehome(index, to: partition, now: now, in: context)
        }
        guard let resume else { return .undecided }
        guard queues.count(at: index) < context.maximumWaiters else {
            return .decided(refuse(lease.limit, now: now))
        }
        queues.append(WaitQueues.Waiter(cost: cost, since: now, resume: resume), at: index)
        decisions.waited &+= 1
        return lease.isRequesting ? .wait : .send(makeRequest(at: index, now: now, in: context))
    }

    /// Counts a decision and returns it; a limit in shadow mode denies nothing.
    private mutating func counted(_ decision: Decision) -> Decision {
        let decision = decision.limit.isShadow ? decision.admittedInShadowMode : decision
        decisions.count(decision)
        return decision
    }

    /// Refuses a request because of a bound of this server or the failure policy.
    private mutating func refuse(_ limit: Limit, now: Instant) -> Decision {
        counted(.refused(limit, at: now))
    }

    // MARK: Requests to the store

    /// Creates the lease request for a key: for its waiting requests, and for the demand to come.
    ///
    /// Its deadline is that of the oldest waiting request, so that none waits longer than the timeout.
    private mutating func makeRequest(at index: Int, now: Instant, in context: Context) -> LeaseRequest {
        let key = table.key(at: index)
        rehome(index, to: context.store.partition(of: key.span), now: now, in: context)
        let waiting = queues.include(at: index)
        sequence += 1
        var lease = lease(at: index)
        let report = lease.beginRequest(
            waitingTokens: waiting.reduce(0) { $0 + $1.cost * $1.count }, sequence: sequence, sizing: context.sizing,
            settings: settings.scaled(forLessees: lease.lessees, of: lease.limit), now: now, tally: &tokens)
        store(lease, at: index)
        return request(
            for: report, of: lease, key: key, waiting: waiting, since: queues.oldest(at: index) ?? now, now: now,
            in: context)
    }

    private func request(
        for report: LeaseState.Report, of lease: LeaseState, key: [UInt8], waiting: [WaitingRun], since: Instant,
        now: Instant, in context: Context
    ) -> LeaseRequest {
        LeaseRequest(
            key: key, partition: lease.partition, limit: lease.limit, lesseeID: context.lesseeID,
            sequence: lease.sequence, acknowledged: lease.acknowledgedSequence, held: report.held,
            millisecondsSinceLastSpend: report.millisecondsSinceLastSpend, halfSpentTokens: report.halfSpentTokens,
            halfSpentMilliseconds: report.halfSpentMilliseconds, returned: report.returned, waiting: waiting,
            requested: report.requested,
            durationMilliseconds: settings.scaled(forLessees: lease.lessees, of: lease.limit).durationMilliseconds,
            sentAt: now,
            deadline: since.advanced(byMilliseconds: settings.timeoutMilliseconds))
    }

    // MARK: Replies of the store

    /// Applies the reply to a request, or its failure.
    ///
    /// A reply that is not to the request in flight is late or a duplicate, and is ignored. The store takes its tokens
    /// back at the key's next request, or when they expire.
    mutating func settle(
        _ request: LeaseRequest, with result: Result<Grant, LeaseFailure>, now: Instant, in context: Context
    ) -> Settlement {
        let key = request.key.span
        guard let index = table.find(key, hash: context.hash(key)) else { return Settlement() }
        var lease = lease(at: index)
        guard lease.isRequesting, lease.sequence == request.sequence else { return Settlement() }
        let queue = queues.removeQueue(at: index)
        for waiter in queue.waiters { waits.record(nanoseconds: now.nanoseconds - waiter.since.nanoseconds) }
        // The settings may have changed since the request was made.
        var settings = settings.scaled(forLessees: lease.lessees, of: lease.limit)
        settings.durationMilliseconds = request.durationMilliseconds
        guard case .success(let grant) = result, grant.isUsable(for: request, settings: settings, now: now) else {
            lease.fail()
            store(lease, at: index)
            scheduleIdleCheck(index, from: now)
            return settleFailure(queue, at: index, now: now, in: context)
        }
        outageBuckets.remove(at: index)
        lease.settle(grant, sentAt: request.sentAt, settings: settings, now: now, tally: &tokens)
        store(lease, at: index)
        let settlement = decideWaiting(queue, at: index, now: now, in: context)
        if lease.limit != request.limit {
            // The grant is from the previous limit: the waiting requests are paid, and the rest is not spent.
            var lease = self.lease(at: index)
            lease.change(to: lease.limit, from: request.limit, tally: &tokens)
            store(lease, at: index)
        }
        rehome(index, to: context.store.partition(of: key), now: now, in: context)
        scheduleIdleCheck(index, from: now)
        return settlement
    }

    /// Decides the requests that the lease request included, and later ones that need no further lease request.
    private mutating func decideWaiting(
        _ queue: WaitQueues.Queue, at index: Int, now: Instant, in context: Context
    ) -> Settlement {
        var lease = lease(at: index)
        var settlement = Settlement()
        var remaining = WaitQueues.Queue().waiters
        for (order, waiter) in queue.waiters.enumerated() {
            var decision = lease.decide(cost: waiter.cost, settings: settings, now: now, tally: &tokens)
            if decision == nil, order < queue.included {
                decision = lease.deny(cost: waiter.cost, settings: settings, now: now)
            }
            if let decision {
                settlement.decided.append((waiter.resume, counted(decision)))
            } else {
                remaining.append(waiter)
            }
        }
        store(lease, at: index)
        if !remaining.isEmpty {
            queues.restore(remaining, at: index)
            settlement.next = makeRequest(at: index, now: now, in: context)
        }
        return settlement
    }

    private mutating func settleFailure(
        _ queue: WaitQueues.Queue, at index: Int, now: Instant, in context: Context
    ) -> Settlement {
        let partition = lease(at: index).partition
        var settlement = Settlement()
        for waiter in queue.waiters {
            let decision = decideByPolicy(cost: waiter.cost, partition: partition, at: index, now: now, in: context)
            settlement.decided.append((waiter.resume, decision))
        }
        return settlement
    }

    // MARK: Outages

    /// Decides by the failure policy: the key's node is unreachable or did not reply.
    private mutating func decideByPolicy(
        cost: Int, partition: PartitionID, at index: Int, now: Instant, in context: Context
    ) -> Decision {
        var lease = lease(at: index)
        guard context.failurePolicy == .local, let fraction = context.store.localFraction(of: partition) else {
            return decideUnmetered(lease.limit, policy: context.failurePolicy, now: now)
        }
        let decision = outageBuckets.decide(
            lease.limit, cost: cost, at: index, partition: partition, fraction: fraction,
            lastSpentAt: lease.lastSpentAt, settings: longestSettings, now: now)
        if decision.isAllowed {
            lease.recordSpend(now: now)
            store(lease, at: index)
        }
        return counted(decision)
    }

    /// Decides without metering: the policy `open` admits, any other one refuses.
    private mutating func decideUnmetered(_ limit: Limit, policy: FailurePolicy, now: Instant) -> Decision {
        policy == .open ? counted(.unmetered(limit, at: now)) : refuse(limit, now: now)
    }

    // MARK: Entries

    /// Adds an entry for a new key, and evicts another key if the table is full.
    ///
    /// Keys without tokens are evicted first; keys with a request in flight stay. The store counts the tokens of an
    /// evicted key until they expire, so eviction never creates tokens.
    private mutating func entry(
        for key: Span<UInt8>, hash: UInt64, now: Instant, in context: Context
    ) -> EntryLookup {
        if let milliseconds = context.newKeys?.take(now: now) {
            return .tooManyNewKeys(retryAfterMilliseconds: milliseconds)
        }
        var hasIdleCheck = false
        if table.isFull {
            let evicted =
                table.evict(hash: context.hash.callAsFunction) { $0.state.isForgettable(now: now) }
                ?? table.evict(hash: context.hash.callAsFunction) { !$0.isRequesting }
            guard let evicted = evicted?.state else { return .full }
            tokens.expired &+= UInt64(evicted.outstandingTokens)
            evictions &+= 1
            lastSpentAtOfEvicted = max(lastSpentAtOfEvicted, evicted.lastSpentAt)
            // The new key gets the freed entry, and with it the entry's idle check.
            hasIdleCheck = evicted.hasIdleCheck
        }
        var lease = LeaseState(
            limit: limits.limit(of: key), partition: context.store.partition(of: key), sequence: sequence,
            lastSpentAt: lastSpentAtOfEvicted, now: now)
        lease.hasIdleCheck = hasIdleCheck
        let index = table.insert(key, hash: hash, value: PackedLease(lease))
        table.updateHint(in: context.prefetchHints, hash: hash)
        outageBuckets.remove(at: index)
        return .at(index)
    }

    // MARK: Returned tokens

    /// Creates the request that returns a key's tokens; nil if there is nothing to report, or a request is in flight.
    ///
    /// - Parameter isForced: whether to report even if the store's record may simply expire.
    mutating func returnTokens(
        at index: Int, isForced: Bool = false, now: Instant, in context: Context
    ) -> LeaseRequest? {
        var lease = lease(at: index)
        let report = lease.returnTokens(
            sequence: sequence + 1, isForced: isForced, settings: settings, now: now, tally: &tokens)
        store(lease, at: index)
        guard let report else { return nil }
        sequence += 1
        return request(
            for: report, of: lease, key: table.key(at: index), waiting: [], since: now, now: now, in: context)
    }

    /// Switches a key to another partition, and prepares the return of its tokens to the old one.
    ///
    /// No effect while a request is in flight; the shard calls this method again after the reply.
    mutating func rehome(_ index: Int, to partition: PartitionID, now: Instant, in context: Context) {
        let lease = lease(at: index)
        guard partition != lease.partition, !lease.isRequesting else { return }
        if let request = returnTokens(at: index, now: now, in: context) { pendingReturns.append(request) }
        var moved = self.lease(at: index)
        moved.move(to: partition)
        store(moved, at: index)
    }

    var pendingReturnCount: Int { pendingReturns.count }

    /// Removes all pending return requests and gives them to the caller, which sends them now.
    mutating func takePendingReturns(now: Instant) -> [LeaseRequest] {
        pendingReturns.removeAll(deadline: now.advanced(byMilliseconds: settings.timeoutMilliseconds))
    }

    /// Schedules an idle check of a key, unless one is scheduled or its tokens are not worth returning.
    private mutating func scheduleIdleCheck(_ index: Int, from start: Instant) {
        var lease = lease(at: index)
        guard !lease.hasIdleCheck, lease.isWorthReturning(settings: settings) else { return }
        lease.hasIdleCheck = true
        store(lease, at: index)
        idleChecks.append(index: index, due: start.advanced(byMilliseconds: settings.idleCheckMilliseconds))
    }

    /// Takes the pending returns, then adds the returns of idle keys, up to `most` requests in total.
    ///
    /// A key is idle after ``LeaseSettings/idle`` without spending. Only due checks are
    /// processed, so each key is checked at most once in that time.
    mutating func returnIdle(most: Int, now: Instant, in context: Context) -> [LeaseRequest] {
        var requests = takePendingReturns(now: now)
        while requests.count < most, let index = idleChecks.popDue(at: now) {
            guard table.isLive(index) else { continue }
            var lease = lease(at: index)
            guard lease.hasIdleCheck else { continue }
            lease.hasIdleCheck = false
            store(lease, at: index)
            if lease.lastSpentAt.advanced(byMilliseconds: settings.idleCheckMilliseconds) <= now {
                if let request = returnTokens(at: index, now: now, in: context) { requests.append(request) }
            } else {
                scheduleIdleCheck(index, from: lease.lastSpentAt)
            }
        }
        return requests
    }
}
