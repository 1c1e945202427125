/// The store in this process: the true bucket of every organisation, for a server that shares its limits with nobody.
///
/// A decision is one look-up under one lock. There are no leases here, since there is nobody to lease to; with the
/// bucket itself at hand every decision is exact.
final class EmbeddedStore: Sendable {
    private struct Cell: BitwiseCopyable {
        var bucket: TokenBucket
        let limit: Limit
    }

    private struct State: ~Copyable {
        var table: BucketTable<Cell>
        var decisions = DecisionTally()
        var evictions: UInt64 = 0
    }

    private let limits: Limits
    private let hash: SipHash
    private let shards: Shards<State>

    init(limits: Limits, maximumBuckets: Int, hash: SipHash) {
        self.limits = limits
        self.hash = hash
        shards = Shards(capacity: maximumBuckets) { State(table: BucketTable(capacity: $0)) }
    }

    /// Takes `costMicrotokens` from the organisation's bucket if it can pay.
    ///
    /// A new organisation finds a full bucket. Where the store is full, one that has refilled makes room: forgetting
    /// it changes nothing, since it would come back full. Where none is found the newcomer is refused, because
    /// forgetting a bucket in use would give its tokens back.
    func decide(_ organization: Span<UInt8>, costMicrotokens: Int64, now: Instant) -> Decision {
        let hash = hash(organization)
        return shards.withShard(of: hash) { state in
            guard let position = position(of: organization, hash: hash, in: &state, now: now) else {
                state.decisions.count(.refused)
                return .refused(limits.limit(of: organization), at: now)
            }
            let decision = Self.take(costMicrotokens, from: &state.table[position], now: now)
            state.decisions.count(decision.outcome)
            return decision
        }
    }

    @inline(__always)
    private static func take(_ costMicrotokens: Int64, from cell: inout Cell, now: Instant) -> Decision {
        cell.bucket.refill(cell.limit, nowMilliseconds: now.milliseconds)
        if cell.bucket.take(costMicrotokens) {
            return .allowed(cell.limit, balanceMicrotokens: cell.bucket.microtokens, at: now)
        }
        return .denied(
            cell.limit, balanceMicrotokens: cell.bucket.microtokens, costMicrotokens: costMicrotokens, at: now)
    }

    @inline(__always)
    private func position(
        of organization: Span<UInt8>, hash: UInt64, in state: inout State, now: Instant
    ) -> Int? {
        if let position = state.table.find(organization, hash: hash) { return position }
        return addBucket(organization, hash: hash, to: &state, now: now)
    }

    @inline(never)
    private func addBucket(
        _ organization: Span<UInt8>, hash: UInt64, to state: inout State, now: Instant
    ) -> Int? {
        let nowMilliseconds = now.milliseconds
        if state.table.isFull {
            let gone = state.table.evict { cell in
                var bucket = cell.bucket
                bucket.refill(cell.limit, nowMilliseconds: nowMilliseconds)
                return bucket.microtokens >= cell.limit.capacityMicrotokens
            }
            guard gone != nil else { return nil }
            state.evictions &+= 1
        }
        let limit = limits.limit(of: organization)
        let cell = Cell(bucket: TokenBucket(full: limit, nowMilliseconds: nowMilliseconds), limit: limit)
        return state.table.insert(organization, hash: hash, value: cell)
    }

    /// Adds what this store has counted to `statistics`.
    func add(to statistics: inout LimiterStatistics) {
        shards.forEach { state in
            statistics.decisions += state.decisions
            statistics.evictions &+= state.evictions
            statistics.cachedBuckets += state.table.count
        }
    }
}
