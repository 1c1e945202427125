internal import Synchronization

/// Carries the lease requests of all shards to the store, and the replies back.
///
/// It holds a shard's lock only for one transition of ``LeaseShard``, and performs the action afterwards.
final class LeaseDriver: Sendable {
    private let storeCalls = Atomic<UInt64>(0)
    private let storeFailures = Atomic<UInt64>(0)
    private let shards: LockStripedTable<LeaseShard>
    private let context: LeaseShard.Context
    /// How many entries one sweep visits before it releases the lock.
    private static let entriesPerSweep = 1024
    /// How many requests a sweep sends at a time.
    private static let requestsPerSweep = 256

    init(
        limits: Limits, store: any LeaseStore, lesseeID: String, settings: LimiterSettings, sizing: any LeaseSizing,
        hash: KeyHash
    ) {
        let pool = BucketTable<PackedLease>.Pool()
        shards = LockStripedTable(capacity: settings.maximumBuckets) {
            LeaseShard(table: BucketTable(capacity: $0, pool: pool), limits: limits, settings: settings.lease)
        }
        context = LeaseShard.Context(
            store: store, lesseeID: lesseeID, maximumWaiters: settings.maximumWaitersPerKey,
            failurePolicy: settings.failurePolicy, sizing: sizing, hash: hash,
            newKeys: NewKeyBudget(perSecond: settings.maximumNewKeysPerSecond), prefetchHints: shards.prefetchHints)
    }

    var prefetchHints: PrefetchHints { shards.prefetchHints }

    // MARK: Decisions

    /// Pays a request on the fast path; nil if it must take the slow path, ``decide(_:hash:cost:now:resume:)``.
    @inline(__always)
    func pay(_ key: Span<UInt8>, hash: UInt64, cost: UInt32, now: Instant) -> Decision? {
        // A local function, here and below: the compiler would turn a closure of this length into a call.
        @inline(__always)
        func pay(_ shard: inout sending LeaseShard) -> sending Decision? {
            guard let pointer = Self.spend(key, hash: hash, cost: cost, in: &shard, now: now) else { return nil }
            return shard.table[pointer].decision(at: now)
        }
        return shards.withShard(of: hash, pay)
    }

    /// As ``pay(_:hash:cost:now:)``, without the balance: it reads one cache line of the lease.
    @inline(__always)
    func spend(_ key: Span<UInt8>, hash: UInt64, cost: UInt32, now: Instant) -> Bool {
        @inline(__always)
        func spend(_ shard: inout sending LeaseShard) -> sending Bool {
            Self.spend(key, hash: hash, cost: cost, in: &shard, now: now) != nil
        }
        return shards.withShard(of: hash, spend)
    }

    @inline(__always)
    private static func spend(
        _ key: Span<UInt8>, hash: UInt64, cost: UInt32, in shard: inout LeaseShard, now: Instant
    ) -> BucketTable<PackedLease>.EntryPointer? {
        guard let pointer = shard.table.findEntry(key, hash: hash),
            shard.table[hot: pointer].spend(cost: cost, now: now)
        else { return nil }
        shard.paid.count(cost)
        return pointer
    }

    /// Decides on the slow path; nil if the decision needs the store.
    ///
    /// The request then waits, unless `resume` is nil.
    ///
    /// - Parameter resume: called with the decision if the request waits; nil if the caller cannot wait.
    func decide(
        _ key: Span<UInt8>, hash: UInt64, cost: Int, now: Instant, resume: WaitQueues.Resume? = nil
    ) -> Decision? {
        let action = shards.withShard(of: hash) {
            $0.decide(key, hash: hash, cost: cost, resume: resume, now: now, in: context)
        }
        switch action {
        case .decided(let decision): return decision
        case .decidedAndSend(let decision, let request):
            send(request)
            return decision
        case .undecided, .wait: return nil
        case .send(let request):
            send(request)
            return nil
        }
    }

    /// Sends a request to the store, and performs the actions that follow from its reply.
    private func send(_ request: LeaseRequest, whenSettled: @escaping @Sendable () -> Void = {}) {
        storeCalls.add(1, ordering: .relaxed)
        context.store.lease(request) { [self] result, now in
            if case .failure = result { storeFailures.add(1, ordering: .relaxed) }
            let settlement = settle(request, with: result, now: now)
            // The next request first: its deadline is running.
            if let next = settlement.next { send(next) }
            for (resume, decision) in settlement.decided { resume(decision) }
            whenSettled()
        }
    }

    /// Sends a request to the store, and waits until it is settled.
    private func sendAndWait(_ request: LeaseRequest) async {
        await withCheckedContinuation { continuation in
            send(request) { continuation.resume() }
        }
    }

    /// Applies a reply of the store, or its failure.
    func settle(
        _ request: LeaseRequest, with result: Result<Grant, LeaseFailure>, now: Instant
    ) -> LeaseShard.Settlement {
        shards.withShard(of: context.hash(request.key.span)) {
            $0.settle(request, with: result, now: now, in: context)
        }
    }

    // MARK: Returning tokens

    /// Returns all leases in batches of a few hundred, so that the last requests do not miss their deadline.
    func returnAll(clock: some TimeSource) async {
        await sweep { shard, index in
            let now = clock.now()
            return self.shards.withShard(at: shard) { shard in
                var requests: [LeaseRequest] = []
                var index = index
                while index < shard.table.endIndex, requests.count < Self.requestsPerSweep {
                    if shard.table.isLive(index),
                        let request = shard.returnTokens(at: index, now: now, in: self.context)
                    {
                        requests.append(request)
                    }
                    index += 1
                }
                return (requests, index < shard.table.endIndex ? index : nil)
            }
        }
    }

    /// Switches every key to the partition that the store now names, and returns its tokens to the old one.
    ///
    /// A key with a request in flight switches after the reply.
    func returnMoved(clock: some TimeSource) async {
        await sweep { shard, start in
            let now = clock.now()
            return self.shards.withShard(at: shard) { shard in
                var index = start
                while index < shard.table.endIndex, index - start < Self.entriesPerSweep,
                    shard.pendingReturnCount < Self.requestsPerSweep
                {
                    if shard.table.isLive(index) {
                        let partition = self.context.store.partition(of: shard.table.key(at: index).span)
                        shard.rehome(index, to: partition, now: now, in: self.context)
                    }
                    index += 1
                }
                return (shard.takePendingReturns(now: now), index < shard.table.endIndex ? index : nil)
            }
        }
    }

    /// Visits all shards, sends the requests of each step, and waits until they are settled.
    private func sweep(
        _ step: (_ shard: Int, _ start: Int) -> (requests: [LeaseRequest], next: Int?)
    ) async {
        for shard in 0..<shards.count {
            var start: Int? = 0
            while let from = start, !Task.isCancelled {
                let (requests, next) = step(shard, from)
                await withTaskGroup(of: Void.self) { group in
                    for request in requests {
                        group.addTask { await self.sendAndWait(request) }
                    }
                }
                start = next
            }
        }
    }

    /// Returns the tokens of keys that have fallen idle, without waiting for the replies.
    func returnIdle(now: Instant) {
        for shard in 0..<shards.count {
            let requests = shards.withShard(at: shard) {
                $0.returnIdle(most: Self.requestsPerSweep, now: now, in: context)
            }
            for request in requests { send(request) }
        }
    }

    /// Returns the tokens of one key, and waits until the store has replied or failed.
    func returnTokens(of key: [UInt8], now: Instant) async {
        let hash = context.hash(key.span)
        let request = shards.withShard(of: hash) { shard -> LeaseRequest? in
            guard let index = shard.table.find(key.span, hash: hash) else { return nil }
            return shard.returnTokens(at: index, isForced: true, now: now, in: context)
        }
        if let request { await sendAndWait(request) }
    }

    // MARK: Changes at run time

    /// Switches to other limits.
    ///
    /// Tokens leased under a higher limit are not spent any more. The store counts them as leased until the lease ends
    /// or the key's next request arrives.
    ///
    /// - Parameter names: the keys whose limit differs; nil if the limit of any key may differ.
    func change(to limits: Limits, names: Set<[UInt8]>?, now: Instant) {
        shards.forEach { $0.limits = limits }
        shards.forEachEntry(of: names, hash: context.hash) { shard, index in
            var lease = shard.lease(at: index)
            let limit = shard.limits.limit(of: shard.table.key(at: index))
            guard limit != lease.limit else { return }
            lease.change(to: limit, from: lease.limit, tally: &shard.tokens)
            shard.store(lease, at: index)
            shard.outageBuckets.remove(at: index)
        }
    }

    /// The lease settings in force.
    var leaseSettings: LeaseSettings { shards.withShard(at: 0) { $0.settings } }

    /// Switches to other lease settings from the next request to the store on; running leases keep their times.
    func change(to settings: LeaseSettings) {
        shards.forEach { shard in
            shard.settings = settings
            shard.longestSettings.durationMilliseconds = max(
                shard.longestSettings.durationMilliseconds, settings.durationMilliseconds)
            shard.longestSettings.horizonMilliseconds = max(
                shard.longestSettings.horizonMilliseconds, settings.horizonMilliseconds)
        }
    }

    /// Voids the estimate of a key whose bucket in the store has been filled: its next shortage asks the store.
    func invalidateEstimate(of key: Span<UInt8>) {
        let hash = context.hash(key)
        shards.withShard(of: hash) { shard in
            guard let index = shard.table.find(key, hash: hash) else { return }
            var lease = shard.lease(at: index)
            lease.invalidateEstimate()
            shard.store(lease, at: index)
        }
    }

    // MARK: Statistics

    /// The outstanding tokens of a key; with an instant, only those that have not expired by then.
    func outstandingTokens(of key: Span<UInt8>, at now: Instant?) -> Int {
        let hash = context.hash(key)
        return shards.withShard(of: hash) { shard in
            guard let index = shard.table.find(key, hash: hash) else { return 0 }
            let lease = shard.lease(at: index)
            return now.map { lease.outstandingTokens(at: $0) } ?? lease.outstandingTokens
        }
    }

    /// How many idle checks are scheduled.
    var idleCheckCount: Int {
        var count = 0
        shards.forEach { count += $0.idleChecks.count }
        return count
    }

    /// Adds the counts of all shards to `statistics`.
    func add(to statistics: inout LimiterStatistics) {
        statistics.storeCalls &+= storeCalls.load(ordering: .relaxed)
        statistics.storeFailures &+= storeFailures.load(ordering: .relaxed)
        shards.forEach { shard in
            statistics.decisions += shard.decisions
            statistics.leaseTokens += shard.tokens
            statistics.decisions.allowed &+= shard.paid.requests
            statistics.leaseTokens.spent &+= shard.paid.tokens
            statistics.waits += shard.waits
            statistics.evictions &+= shard.evictions
            statistics.cachedBuckets += shard.table.count
        }
    }
}
