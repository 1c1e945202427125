/// The store in this process: the true bucket of every organization, for a server that shares its limits with nobody.
///
/// A decision is one look-up under one lock. There are no leases here, since there is nobody to lease to; with the
/// bucket itself at hand every decision is exact.
final class EmbeddedStore: Sendable {
    private struct State: ~Copyable, TableState {
        // What every decision touches stands first, beside the lock.
        var allowed: UInt64 = 0
        var table: BucketTable<LimitedBucket>
        var decisions = DecisionTally()
        var limits: Limits
        var evictions: UInt64 = 0
    }

    let hash: NameHash
    private let shards: LockStripedTable<State>
    private let newKeys: NewKeyBudget?

    init(limits: Limits, settings: LimiterSettings, hash: NameHash) {
        self.hash = hash
        newKeys = NewKeyBudget(perSecond: settings.maximumNewKeysPerSecond)
        let pool = BucketTable<LimitedBucket>.Pool()
        shards = LockStripedTable(capacity: settings.maximumBuckets) {
            State(table: BucketTable(capacity: $0, pool: pool), limits: limits)
        }
    }

    /// Where its tables have their slots.
    var prefetchHints: PrefetchHints { shards.prefetchHints }

    /// Takes `costMicrotokens` from the organization's bucket if there is one that can pay;
    /// ``decide(_:hash:costMicrotokens:now:)`` sees to all others.
    @inline(__always)
    func payHot(_ key: Span<UInt8>, hash: UInt64, costMicrotokens: Int64, now: Instant) -> Payment {
        // Worked out before the entry is looked at, see `RateLimiter.hashAndPrefetch`.
        let nowMilliseconds = now.milliseconds
        // Not closures, here and below: of one that it finds too long the compiler makes a call.
        @inline(__always)
        func pay(_ bucket: inout LimitedBucket) -> Payment {
            bucket.pay(costMicrotokens, nowMilliseconds: nowMilliseconds)
        }
        @inline(__always)
        func pay(_ state: inout sending State) -> sending Payment {
            let payment = state.table.update(key, hash: hash, absent: .none, pay)
            if payment.isMade { state.allowed &+= 1 }
            return payment
        }
        return shards.withShard(of: hash, pay)
    }

    /// As ``payHot(_:hash:costMicrotokens:now:)``, for who does not ask what is left.
    @inline(__always)
    func takeHot(_ key: Span<UInt8>, hash: UInt64, costMicrotokens: Int64, now: Instant) -> Bool {
        let nowMilliseconds = now.milliseconds
        @inline(__always)
        func take(_ bucket: inout LimitedBucket) -> Bool {
            bucket.pay(costMicrotokens, nowMilliseconds: nowMilliseconds).isMade
        }
        @inline(__always)
        func take(_ state: inout sending State) -> sending Bool {
            let isPaid = state.table.update(key, hash: hash, absent: false, take)
            if isPaid { state.allowed &+= 1 }
            return isPaid
        }
        return shards.withShard(of: hash, take)
    }

    /// Takes `costMicrotokens` from the organization's bucket if it can pay.
    ///
    /// A new organization finds a full bucket. Where the store is full, a bucket that has refilled makes room: it would
    /// come back full. Where there is none the newcomer is refused: forgetting a bucket in use would give its tokens
    /// back.
    func decide(_ key: Span<UInt8>, hash: UInt64, costMicrotokens: Int64, now: Instant) -> Decision {
        shards.withShard(of: hash) { state in
            let index: Int
            switch pointer(key, hash: hash, in: &state, now: now) {
            case .at(let found): index = found
            case .full: return counted(.refused(state.limits.limit(of: key), at: now), in: &state)
            case .tooManyNewKeys(let milliseconds):
                state.decisions.newKeysDenied &+= 1
                let limit = state.limits.limit(of: key)
                return counted(
                    .denied(limit, balanceMicrotokens: 0, retryAfterMilliseconds: milliseconds, at: now), in: &state)
            }
            let payment = state.table[index].pay(costMicrotokens, nowMilliseconds: now.milliseconds)
            if payment.isMade { return counted(payment.decision(at: now), in: &state) }
            let bucket = state.table[index]
            let denial = Decision.denied(
                bucket.limit, balanceMicrotokens: bucket.microtokens, costMicrotokens: costMicrotokens, at: now)
            return counted(denial, in: &state)
        }
    }

    /// Counts a decision; where the limit is in shadow, nobody is turned away.
    private func counted(_ decision: Decision, in state: inout State) -> Decision {
        let decision = decision.limit.isShadow ? decision.inShadow : decision
        state.decisions.count(decision)
        return decision
    }

    private func pointer(
        _ key: Span<UInt8>, hash: UInt64, in state: inout State, now: Instant
    ) -> EntryLookup {
        if let index = state.table.find(key, hash: hash) { return .at(index) }
        if let milliseconds = newKeys?.take(now: now) { return .tooManyNewKeys(retryAfterMilliseconds: milliseconds) }
        if state.table.isFull {
            let gone = state.table.evict(now: now.milliseconds, hash: self.hash.callAsFunction) { $0.forgettable }
            guard gone != nil else { return .full }
            state.evictions &+= 1
        }
        let limit = state.limits.limit(of: key)
        return .at(
            shards.insert(key, hash: hash, value: LimitedBucket(full: limit, now: now), into: &state))
    }

    // MARK: Changes from outside

    /// Goes over to other limits; what has flowed in by now came under the old ones.
    ///
    /// - Parameter names: whose limit is another one; nil where it may be anyone's.
    func change(to limits: Limits, names: Set<[UInt8]>?, now: Instant) {
        shards.forEach { $0.limits = limits }
        shards.forEachPlace(of: names, hash: hash) { state, index in
            let limit = state.limits.limit(of: state.table.key(at: index))
            state.table[index].change(to: limit, now: now)
            state.table.forgetBounds()
        }
    }

    /// An organization's bucket as a request would find it; nil where there is none, which would be full.
    func bucket(of key: Span<UInt8>, now: Instant) -> TokenBucket? {
        let hash = hash(key)
        return shards.withShard(of: hash) { state in
            state.table.find(key, hash: hash).map { state.table[$0].bucket(now: now) }
        }
    }

    /// Fills an organization's bucket.
    func fill(_ key: Span<UInt8>, now: Instant) {
        let hash = hash(key)
        shards.withShard(of: hash) { state in
            guard let index = state.table.find(key, hash: hash) else { return }
            state.table[index].fill(now: now)
            state.table.forgetBounds()
        }
    }

    /// Adds what this store has counted to `statistics`.
    func add(to statistics: inout LimiterStatistics) {
        shards.forEach { state in
            statistics.decisions += state.decisions
            statistics.decisions.allowed &+= state.allowed
            statistics.evictions &+= state.evictions
            statistics.cachedBuckets += state.table.count
        }
    }
}
