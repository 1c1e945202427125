internal import DequeModule

/// Tokens that go back before they lapse: of organizations that fell silent, of buckets that have been left for others, and
/// of a server that stops.
extension LeaseManager {
    /// Requests that give back the leases of one shard, from a position in its table on; and where to go on, or nil at
    /// the table's end.
    func returnTokens(
        shard: Int, from start: Int, most: Int, now: Instant
    ) -> (requests: [LeaseRequest], next: Int?) {
        shards.withShard(at: shard) { state in
            var requests: [LeaseRequest] = []
            for index in start..<max(start, state.table.endIndex) where state.table.isLive(index) {
                if requests.count == most { return (requests, index) }
                if let request = returnTokens(at: index, in: &state, now: now) { requests.append(request) }
            }
            return (requests, nil)
        }
    }

    /// - Parameter isForced: whether the store is told even where it will learn in good time.
    func returnTokens(at index: Int, isForced: Bool = false, in state: inout State, now: Instant) -> LeaseRequest? {
        let sequence = state.sequence + 1
        let report = state.table[index].returnTokens(
            sequence: sequence, isForced: isForced, settings: state.lease, now: now, tally: &state.tokens)
        guard let report else { return nil }
        state.sequence = sequence
        let name = state.table.key(at: index)
        return request(for: report, of: name, waiting: [], at: index, in: state, since: now, now: now)
    }

    /// Turns to the bucket at a home, if that is another one than before, and sees to it that the old one gets its tokens
    /// back.
    ///
    /// While a request is in flight nothing changes; its answer brings the next occasion.
    func rehome(_ index: Int, to partition: PartitionID, in state: inout State, now: Instant) {
        guard partition != state.table[index].partition, !state.table[index].isRequesting else { return }
        if let request = returnTokens(at: index, in: &state, now: now),
            state.pendingReturns.count < Self.maximumPendingReturns
        {
            state.pendingReturns.append(request)
        }
        state.table[index].move(to: partition)
    }

    /// Turns to the buckets where the store now says that they are, for the leases of one shard from a position in its
    /// table on: requests that give back what was leased of the old ones, and where to go on, or nil at the table's end.
    ///
    /// One with a request in flight is left for when that is answered.
    func returnMoved(
        shard: Int, from start: Int, most: Int, now: Instant
    ) -> (requests: [LeaseRequest], next: Int?) {
        shards.withShard(at: shard) { state in
            let end = max(start, state.table.endIndex)
            for index in start..<end where state.table.isLive(index) {
                // Others wait for the lock meanwhile.
                guard state.pendingReturns.count < most, index - start < Self.entriesPerHold else {
                    return (takePendingReturns(in: &state, now: now), index)
                }
                let name = state.table.key(at: index)
                rehome(index, to: store.partition(of: name.span), in: &state, now: now)
            }
            return (takePendingReturns(in: &state, now: now), nil)
        }
    }

    /// Sees to it that a lease with tokens is looked at once it may have fallen idle since an instant; one whose tokens nobody
    /// misses lapses instead, which costs no store call.
    func scheduleIdleCheck(_ index: Int, from start: Instant, in state: inout State) {
        guard state.table[index].isWorthReturning(settings: state.lease), !state.table[index].hasIdleCheck else {
            return
        }
        state.table[index].hasIdleCheck = true
        state.idleChecks.append(
            IdleCheck(index, due: start.advanced(byMilliseconds: state.lease.idleCheckMilliseconds)))
    }

    /// Requests that give back the leases of one shard that have spent nothing for ``LeaseSettings/idleMilliseconds``:
    /// at most `most` of them.
    ///
    /// It looks only at leases that are due, each once in that time, however many organizations there are.
    func returnIdle(shard: Int, most: Int, now: Instant) -> [LeaseRequest] {
        shards.withShard(at: shard) { state in
            var requests = takePendingReturns(in: &state, now: now)
            while requests.count < most, let first = state.idleChecks.first, first.isDue(at: now) {
                state.idleChecks.removeFirst()
                guard state.table.isLive(first.index), state.table[first.index].hasIdleCheck else { continue }
                state.table[first.index].hasIdleCheck = false
                let spentAt = state.table[first.index].spentAt
                if spentAt.advanced(byMilliseconds: state.lease.idleCheckMilliseconds) <= now {
                    if let request = returnTokens(at: first.index, in: &state, now: now) { requests.append(request) }
                } else {
                    scheduleIdleCheck(first.index, from: spentAt, in: &state)
                }
            }
            return requests
        }
    }

    /// How many places in memory are looked after.
    var idleCheckCount: Int {
        var count = 0
        shards.forEach { count += $0.idleChecks.count }
        return count
    }

    /// How many shards there are to give back from.
    var shardCount: Int { shards.count }

    /// How many give-backs may wait to be sent; where nobody sends them, further tokens lapse.
    private static let maximumPendingReturns = 4096
    /// How many places in memory are looked at under one hold of the lock.
    private static let entriesPerHold = 1024

    /// The requests that give back what was leased of buckets that have been left, to be sent now.
    private func takePendingReturns(in state: inout State, now: Instant) -> [LeaseRequest] {
        defer { state.pendingReturns.removeAll() }
        let timeout = state.lease.timeoutMilliseconds
        return state.pendingReturns.map { request in
            var request = request
            request.deadline = now.advanced(byMilliseconds: timeout)
            return request
        }
    }
}
