/// The store in this process: it keeps the bucket of every key, for a server that shares no limits with others.
///
/// A decision is one lookup under one lock. There are no leases, and every decision is exact.
final class EmbeddedStore: Sendable {
    private struct State: ~Copyable, TableState {
        // The fields that every decision uses come first, beside the lock.
        var allowed: UInt64 = 0
        var table: BucketTable<LimitedBucket>
        var pool = LimitPool()
        var decisions = DecisionTally()
        var limits: Limits
        var evictions: UInt64 = 0
    }

    let hash: KeyHash
    private let shards: LockStripedTable<State>
    private let newKeys: NewKeyBudget?

    init(limits: Limits, settings: LimiterSettings, hash: KeyHash) {
        self.hash = hash
        newKeys = NewKeyBudget(perSecond: settings.maximumNewKeysPerSecond)
        let pool = BucketTable<LimitedBucket>.Pool()
        shards = LockStripedTable(capacity: settings.maximumBuckets) {
            State(table: BucketTable(capacity: $0, pool: pool), limits: limits)
        }
    }

    /// The prefetch hints of the store's tables.
    var prefetchHints: PrefetchHints { shards.prefetchHints }

    /// Pays a request on the fast path; nil if it must take the slow path, ``decide(_:hash:cost:now:)``.
    @inline(__always)
    func pay(_ key: Span<UInt8>, hash: UInt64, cost: Int, now: Instant) -> Decision? {
        // A local function, here and below: the compiler would turn a closure of this length into a call.
        @inline(__always)
        func pay(_ state: inout sending State) -> sending Decision? {
            guard let pointer = Self.spend(key, hash: hash, cost, in: &state, now: now) else { return nil }
            let bucket = state.table[hot: pointer]
            return bucket.decision(state.pool[bucket.limitID], at: now)
        }
        return shards.withShard(of: hash, pay)
    }

    /// As ``pay(_:hash:cost:now:)``, without the balance.
    @inline(__always)
    func spend(_ key: Span<UInt8>, hash: UInt64, cost: Int, now: Instant) -> Bool {
        @inline(__always)
        func spend(_ state: inout sending State) -> sending Bool {
            Self.spend(key, hash: hash, cost, in: &state, now: now) != nil
        }
        return shards.withShard(of: hash, spend)
    }

    @inline(__always)
    private static func spend(
        _ key: Span<UInt8>, hash: UInt64, _ cost: Int, in state: inout State, now: Instant
    ) -> BucketTable<LimitedBucket>.EntryPointer? {
        guard let pointer = state.table.findEntry(key, hash: hash) else { return nil }
        let limit = state.pool[state.table[hot: pointer].limitID]
        guard state.table[hot: pointer].pay(cost, limit, nowMilliseconds: now.milliseconds) else { return nil }
        state.allowed &+= 1
        return pointer
    }

    /// Takes the cost from the key's bucket if it has enough tokens.
    ///
    /// A new key gets a full bucket. If the store is full, a full bucket is evicted, since it would come back full. If
    /// no bucket is full, the request is refused: evicting a bucket in use would restore its tokens.
    func decide(_ key: Span<UInt8>, hash: UInt64, cost: Int, now: Instant) -> Decision {
        shards.withShard(of: hash) { state in
            let index: Int
            switch entry(for: key, hash: hash, in: &state, now: now) {
            case .at(let found): index = found
            case .full: return counted(.refused(state.limits.limit(of: key), at: now), in: &state)
            case .tooManyNewKeys(let milliseconds):
                state.decisions.newKeysDenied &+= 1
                let limit = state.limits.limit(of: key)
                return counted(
                    .denied(limit, balanceUnits: 0, retryAfterMilliseconds: milliseconds, at: now), in: &state)
            }
            var bucket = state.table[index]
            let limit = state.pool[bucket.limitID]
            let isPaid = bucket.pay(cost, limit, nowMilliseconds: now.milliseconds)
            state.table[index] = bucket
            if isPaid { return counted(bucket.decision(limit, at: now), in: &state) }
            let denial = Decision.denied(limit, balanceUnits: bucket.bucket.units, cost: cost, at: now)
            return counted(denial, in: &state)
        }
    }

    /// Counts a decision and returns it; a limit in shadow mode admits every request.
    private func counted(_ decision: Decision, in state: inout State) -> Decision {
        let decision = decision.limit.isShadow ? decision.admittedInShadowMode : decision
        state.decisions.count(decision)
        return decision
    }

    private func entry(
        for key: Span<UInt8>, hash: UInt64, in state: inout State, now: Instant
    ) -> EntryLookup {
        if let index = state.table.find(key, hash: hash) { return .at(index) }
        if let milliseconds = newKeys?.take(now: now) { return .tooManyNewKeys(retryAfterMilliseconds: milliseconds) }
        if state.table.isFull {
            let pool = state.pool
            let gone = state.table.evict(now: now.milliseconds, hash: self.hash.callAsFunction) {
                $0.forgettable(pool[$0.limitID])
            }
            guard let gone else { return .full }
            state.pool.release(gone.limitID)
            state.evictions &+= 1
        }
        let limit = state.limits.limit(of: key)
        let bucket = LimitedBucket(full: limit, id: state.pool.retain(limit), now: now)
        let index = state.table.insert(key, hash: hash, value: bucket)
        state.table.updateHint(in: prefetchHints, hash: hash)
        return .at(index)
    }

    // MARK: Changes from outside

    /// Switches to other limits; the refill up to now still follows the old ones.
    ///
    /// - Parameter names: the keys whose limit differs; nil if the limit of any key may differ.
    func change(to limits: Limits, names: Set<[UInt8]>?, now: Instant) {
        shards.forEach { $0.limits = limits }
        shards.forEachEntry(of: names, hash: hash) { state, index in
            let limit = state.limits.limit(of: state.table.key(at: index))
            let (oldID, id) = (state.table[index].limitID, state.pool.retain(limit))
            state.table[index].change(from: state.pool[oldID], to: limit, id: id, now: now)
            state.pool.release(oldID)
            state.table.forgetBounds()
        }
    }

    /// A key's bucket as a request would find it; nil if there is none, in which case it would be full.
    func bucket(of key: Span<UInt8>, now: Instant) -> TokenBucket? {
        let hash = hash(key)
        return shards.withShard(of: hash) { state in
            guard let index = state.table.find(key, hash: hash) else { return nil }
            let bucket = state.table[index]
            return bucket.bucket(state.pool[bucket.limitID], now: now)
        }
    }

    /// Fills a key's bucket to its capacity.
    func fill(_ key: Span<UInt8>, now: Instant) {
        let hash = hash(key)
        shards.withShard(of: hash) { state in
            guard let index = state.table.find(key, hash: hash) else { return }
            state.table[index].fill(state.pool[state.table[index].limitID], now: now)
            state.table.forgetBounds()
        }
    }

    /// Adds the counters of this store to `statistics`.
    func add(to statistics: inout LimiterStatistics) {
        shards.forEach { state in
            statistics.decisions += state.decisions
            statistics.decisions.allowed &+= state.allowed
            statistics.evictions &+= state.evictions
            statistics.cachedBuckets += state.table.count
        }
    }
}
