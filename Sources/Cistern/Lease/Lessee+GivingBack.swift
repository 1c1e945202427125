internal import DequeModule

/// Tokens that go back before they lapse: of organisations that fell silent, of buckets that have been left for others, and
/// of a server that stops.
extension Lessee {
    /// Requests that give back the leases of one shard, from a position in its table on; and where to go on, or nil at
    /// the table's end.
    func giveBack(
        shard: Int, from start: Int, most: Int, now: Instant
    ) -> (requests: [LeaseRequest], next: Int?) {
        shards.withShard(at: shard) { state in
            var requests: [LeaseRequest] = []
            for position in start..<max(start, state.table.endPosition) where state.table.isLive(position) {
                if requests.count == most { return (requests, position) }
                if let request = giveBack(at: position, in: &state, now: now) { requests.append(request) }
            }
            return (requests, nil)
        }
    }

    /// - Parameter isForced: whether the store is told even where it will learn in good time.
    func giveBack(at position: Int, isForced: Bool = false, in state: inout State, now: Instant) -> LeaseRequest? {
        let sequence = state.sequence + 1
        let ask = state.table[position].giveBack(
            sequence: sequence, isForced: isForced, settings: state.lease, now: now, tally: &state.tokens)
        guard let ask else { return nil }
        state.sequence = sequence
        let name = state.table.key(at: position)
        return request(for: ask, of: name, waiting: [], at: position, in: state, since: now, now: now)
    }

    /// Turns to the bucket at a home, if that is another one than before, and sees to it that the old one gets its tokens
    /// back.
    ///
    /// While a request is in flight nothing changes; its answer brings the next occasion.
    func turn(_ position: Int, to home: BucketHome, in state: inout State, now: Instant) {
        guard home != state.table[position].home, !state.table[position].isAsking else { return }
        if let request = giveBack(at: position, in: &state, now: now), state.partings.count < Self.maximumPartings {
            state.partings.append(request)
        }
        state.table[position].move(to: home)
    }

    /// Turns to the buckets where the store now says that they are, for the leases of one shard from a position in its
    /// table on: requests that give back what was leased of the old ones, and where to go on, or nil at the table's end.
    ///
    /// One with a request in flight is left for when that is answered.
    func giveBackMoved(
        shard: Int, from start: Int, most: Int, now: Instant
    ) -> (requests: [LeaseRequest], next: Int?) {
        shards.withShard(at: shard) { state in
            let end = max(start, state.table.endPosition)
            for position in start..<end where state.table.isLive(position) {
                // Others wait for the lock meanwhile.
                guard state.partings.count < most, position - start < Self.positionsAtOnce else {
                    return (takePartings(in: &state, now: now), position)
                }
                let name = state.table.key(at: position)
                turn(position, to: store.home(of: name.span), in: &state, now: now)
            }
            return (takePartings(in: &state, now: now), nil)
        }
    }

    /// Sees to it that a lease with tokens is looked at once it may have fallen idle since an instant; one whose tokens nobody
    /// misses lapses instead, which costs no store call.
    func watch(_ position: Int, from start: Instant, in state: inout State) {
        guard state.table[position].isMissed(settings: state.lease), !state.table[position].isWatched else { return }
        state.table[position].isWatched = true
        state.watched.append(
            WatchedPlace(position, due: start.advanced(byMilliseconds: state.lease.watchMilliseconds)))
    }

    /// Requests that give back the leases of one shard that have spent nothing for ``LeaseSettings/idleMilliseconds``:
    /// at most `most` of them.
    ///
    /// It looks only at leases that are due, each once in that time, however many organisations there are.
    func giveBackIdle(shard: Int, most: Int, now: Instant) -> [LeaseRequest] {
        shards.withShard(at: shard) { state in
            var requests = takePartings(in: &state, now: now)
            while requests.count < most, let first = state.watched.first, first.isDue(at: now) {
                state.watched.removeFirst()
                guard state.table.isLive(first.position), state.table[first.position].isWatched else { continue }
                state.table[first.position].isWatched = false
                let spentAt = state.table[first.position].spentAt
                if spentAt.advanced(byMilliseconds: state.lease.watchMilliseconds) <= now {
                    if let request = giveBack(at: first.position, in: &state, now: now) { requests.append(request) }
                } else {
                    watch(first.position, from: spentAt, in: &state)
                }
            }
            return requests
        }
    }

    /// How many places in memory are looked after.
    var watchedCount: Int {
        var count = 0
        shards.forEach { count += $0.watched.count }
        return count
    }

    /// How many shards there are to give back from.
    var shardCount: Int { shards.count }

    /// How many give-backs may wait to be sent; where nobody sends them, further tokens lapse.
    private static let maximumPartings = 4096
    /// How many places in memory are looked at under one hold of the lock.
    private static let positionsAtOnce = 1024

    /// The requests that give back what was leased of buckets that have been left, to be sent now.
    private func takePartings(in state: inout State, now: Instant) -> [LeaseRequest] {
        defer { state.partings.removeAll() }
        let timeout = state.lease.timeoutMilliseconds
        return state.partings.map { request in
            var request = request
            request.deadline = now.advanced(byMilliseconds: timeout)
            return request
        }
    }
}
