/// The store in this process: the true bucket of every organisation, for a server that shares its limits with nobody.
///
/// A decision is one look-up under one lock. There are no leases here, since there is nobody to lease to; with the
/// bucket itself at hand every decision is exact.
final class EmbeddedStore: Sendable {
    private struct Cell: BitwiseCopyable {
        var bucket: TokenBucket
        var limit: Limit

        /// Takes the cost if it is there; and says what holds, and what is left.
        @inline(__always)
        mutating func take(_ costMicrotokens: Int64, now: Instant) -> Answer {
            bucket.refill(limit, nowMilliseconds: now.milliseconds)
            let isPaid = bucket.take(costMicrotokens)
            return Answer(limit: limit, outcome: isPaid ? .allowed : .denied, balanceMicrotokens: bucket.microtokens)
        }

        mutating func change(to limit: Limit, now: Instant) {
            bucket.refill(self.limit, nowMilliseconds: now.milliseconds)
            bucket.cap(at: limit.capacityMicrotokens)
            self.limit = limit
        }
    }

    private struct State: ~Copyable, TableState {
        // What every decision touches stands first, beside the lock.
        var allowed: UInt64 = 0
        var table: BucketTable<Cell>
        var decisions = DecisionTally()
        var limits: Limits
        var evictions: UInt64 = 0
    }

    private let hash: NameHash
    private let shards: Shards<State>

    init(limits: Limits, maximumBuckets: Int, hash: NameHash) {
        self.hash = hash
        shards = Shards(capacity: maximumBuckets) { State(table: BucketTable(capacity: $0), limits: limits) }
    }

    /// Takes `costMicrotokens` from the organisation's bucket if it can pay.
    ///
    /// A new organisation finds a full bucket. Where the store is full, one that has refilled makes room: forgetting
    /// it changes nothing, since it would come back full. Where none is found the newcomer is refused, because
    /// forgetting a bucket in use would give its tokens back.
    @inline(__always)
    func decide(_ organization: Span<UInt8>, costMicrotokens: Int64, now: Instant) -> Answer {
        let hash = hash(organization)
        shards.fetchSlot(of: hash)
        return shards.withShard(of: hash) { state in
            let taken = state.table.update(organization, hash: hash) { cell, _ in cell.take(costMicrotokens, now: now) }
            guard let taken else {
                return decideNewcomer(organization, hash: hash, costMicrotokens: costMicrotokens, in: &state, now: now)
            }
            return Self.count(taken, in: &state)
        }
    }

    /// How a request came out, in the few words that a function returns in registers; the decision is made of it
    /// outside the lock.
    struct Answer: BitwiseCopyable {
        let limit: Limit
        let outcome: Decision.Outcome
        var balanceMicrotokens: Int64 = 0

        /// The decision of what was asked for.
        @inline(__always)
        func decision(costMicrotokens: Int64, now: Instant) -> Decision {
            if outcome == .allowed { return .allowed(limit, balanceMicrotokens: balanceMicrotokens, at: now) }
            return refusal(costMicrotokens: costMicrotokens, now: now)
        }

        @inline(never)
        private func refusal(costMicrotokens: Int64, now: Instant) -> Decision {
            switch outcome {
            case .allowed: .allowed(limit, balanceMicrotokens: balanceMicrotokens, at: now)
            case .denied:
                denial(costMicrotokens: costMicrotokens, now: now)
            case .unmetered: .unmetered(limit, at: now)
            case .refused: .refused(limit, at: now)
            }
        }

        private func denial(costMicrotokens: Int64, now: Instant) -> Decision {
            let decision = Decision.denied(
                limit, balanceMicrotokens: balanceMicrotokens, costMicrotokens: costMicrotokens, at: now)
            return limit.isShadow ? decision.inShadow : decision
        }
    }

    @inline(__always)
    private static func count(_ answer: Answer, in state: inout State) -> Answer {
        if answer.outcome == .allowed { state.allowed &+= 1 } else { countDenial(answer.limit, in: &state) }
        return answer
    }

    private static func countDenial(_ limit: Limit, in state: inout State) {
        if limit.isShadow {
            state.decisions.allowed &+= 1
            state.decisions.shadowDenied &+= 1
        } else {
            state.decisions.denied &+= 1
        }
    }

    @inline(never)
    private static func refuse(_ limit: Limit, in state: inout State) -> Answer {
        // Nobody is turned away by a limit in shadow.
        let outcome = limit.isShadow ? Decision.Outcome.unmetered : .refused
        state.decisions.count(outcome)
        return Answer(limit: limit, outcome: outcome)
    }

    /// Decides for an organisation that has no bucket yet.
    @inline(never)
    private func decideNewcomer(
        _ organization: Span<UInt8>, hash: UInt64, costMicrotokens: Int64, in state: inout State, now: Instant
    ) -> Answer {
        guard let position = addBucket(organization, hash: hash, to: &state, now: now) else {
            return Self.refuse(state.limits.limit(of: organization), in: &state)
        }
        return Self.count(state.table[position].take(costMicrotokens, now: now), in: &state)
    }

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
        let limit = state.limits.limit(of: organization)
        let cell = Cell(bucket: TokenBucket(full: limit, nowMilliseconds: nowMilliseconds), limit: limit)
        return shards.insert(organization, hash: hash, value: cell, into: &state)
    }

    // MARK: Changes from outside

    /// Goes over to other limits; what has flowed in by now came under the old ones.
    ///
    /// - Parameter names: whose limit is another one; nil where it may be anyone's.
    func change(to limits: Limits, names: Set<[UInt8]>?, now: Instant) {
        shards.forEach { $0.limits = limits }
        shards.forEachPlace(of: names, hash: hash) { state, position in
            let limit = state.limits.limit(of: state.table.key(at: position))
            state.table[position].change(to: limit, now: now)
        }
    }

    /// An organisation's bucket as a request would find it; nil where there is none, which would be full.
    func bucket(of organization: Span<UInt8>, now: Instant) -> TokenBucket? {
        let hash = hash(organization)
        return shards.withShard(of: hash) { state in
            guard let position = state.table.find(organization, hash: hash) else { return nil }
            var cell = state.table[position]
            cell.bucket.refill(cell.limit, nowMilliseconds: now.milliseconds)
            return cell.bucket
        }
    }

    /// Fills an organisation's bucket.
    func fill(_ organization: Span<UInt8>, now: Instant) {
        let hash = hash(organization)
        shards.withShard(of: hash) { state in
            guard let position = state.table.find(organization, hash: hash) else { return }
            let limit = state.table[position].limit
            state.table[position].bucket = TokenBucket(full: limit, nowMilliseconds: now.milliseconds)
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
