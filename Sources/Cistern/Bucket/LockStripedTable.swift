internal import Synchronization

/// State split over locks by the hash of a key, so that threads seldom wait for each other.
///
/// Each shard begins on its own cache line, together with its lock and the fields that every decision reads. At least
/// two cache lines of padding separate adjacent shards, to avoid false sharing.
///
/// Sendable, unchecked: only `withLock` reaches a shard's state, so one thread at a time. All else is constant or
/// atomic, and `makeState` hands over ownership of its result.
struct LockStripedTable<State: ~Copyable>: ~Copyable, @unchecked Sendable {
    /// Offset of a state from its shard's lock, in bytes; it begins on the same cache line.
    private static var stateOffset: Int { max(MemoryLayout<ShardLock>.stride, MemoryLayout<State>.alignment) }
    /// Distance between the starts of adjacent shards, in bytes.
    private static var stride: Int { (stateOffset + MemoryLayout<State>.size + 127) / 128 * 128 + 128 }

    /// The largest capacity of one table, which does not depend on the value type.
    private static var largestShard: Int { BucketTable<LimitedBucket>.largestCapacity }
    /// Shards with fewer buckets than this are not split further.
    ///
    /// The minimum also keeps shards about equally full.
    private static var minimumBucketsPerShard: Int { 1024 }

    /// The usual maximum number of shards: enough that 64 busy cores rarely contend for one.
    ///
    /// There are more only if a table could not hold its part of the capacity.
    private static var commonShards: Int { 256 }

    private let memory: UnsafeMutableRawPointer
    /// Prefetch hints, for callers that know a hash before they need its shard.
    let prefetchHints: PrefetchHints
    private let selector: ShardSelector
    /// Number of shards: a power of two.
    var count: Int { selector.count }

    /// Creates enough shards for `capacity` buckets; `makeState` creates the state of one shard from its capacity.
    init(capacity: Int, makeState: (_ shardCapacity: Int) -> sending State) {
        var count = 1
        while count < Self.commonShards, capacity / (count * 2) >= Self.minimumBucketsPerShard { count *= 2 }
        while (capacity + count - 1) / count > Self.largestShard { count *= 2 }
        let shardCapacity = (capacity + count - 1) / count
        memory = .allocate(byteCount: Self.stride * count, alignment: 128)
        for index in 0..<count {
            let shard = memory + index * Self.stride
            shard.initializeMemory(as: ShardLock.self, to: ShardLock())
            (shard + Self.stateOffset).initializeMemory(as: State.self, to: makeState(shardCapacity))
        }
        selector = ShardSelector(count: count)
        prefetchHints = PrefetchHints(selector)
    }

    deinit {
        for index in 0..<count {
            let (lock, state) = shard(index)
            lock.deinitialize(count: 1)
            state.deinitialize(count: 1)
        }
        memory.deallocate()
    }

    @inline(__always)
    private func shard(_ index: Int) -> (lock: UnsafeMutablePointer<ShardLock>, state: UnsafeMutablePointer<State>) {
        let shard = memory + index &* Self.stride
        return (
            shard.assumingMemoryBound(to: ShardLock.self),
            (shard + Self.stateOffset).assumingMemoryBound(to: State.self)
        )
    }

    /// Runs `body` with exclusive access to the state of the shard that this hash belongs to.
    @inline(__always)
    func withShard<Result: ~Copyable>(
        of hash: UInt64, _ body: (inout sending State) -> sending Result
    ) -> sending Result {
        withLock(at: selector.index(of: hash), body)
    }

    @inline(__always)
    private func withLock<Result: ~Copyable>(
        at index: Int, _ body: (inout sending State) -> sending Result
    ) -> sending Result {
        let (lock, state) = shard(index)
        lock.pointee.acquire()
        defer { lock.pointee.release() }
        return body(&state.pointee)
    }

    /// Runs `body` with exclusive access to the state of the shard at an index.
    func withShard<Result: ~Copyable>(
        at index: Int, _ body: (inout sending State) -> sending Result
    ) -> sending Result {
        precondition(0..<count ~= index, "no such shard")
        return withLock(at: index, body)
    }

    /// Lets threads that wait for the shard's lock take it.
    ///
    /// For a caller that scans a shard in batches and has just released the lock.
    func yieldToSleepers(at index: Int) {
        precondition(0..<count ~= index, "no such shard")
        shard(index).lock.pointee.yieldToSleepers()
    }

    /// Runs `body` on each state in turn.
    func forEach(_ body: (inout sending State) -> Void) {
        for index in 0..<count {
            withLock(at: index) { body(&$0) }
        }
    }
}

/// The state of a shard, with a table in it.
protocol TableState: ~Copyable {
    associatedtype Value: TableValue
    var table: BucketTable<Value> { get set }
}

extension LockStripedTable where State: TableState & ~Copyable {
    /// Whether the prefetch hints of all shards are up to date.
    func hasCurrentHints() -> Bool {
        (0..<count).allSatisfy { shard in
            withShard(at: shard) { $0.table.isCurrent(prefetchHints[shard]) }
        }
    }

    /// Runs `body` on the entry of each of these keys that is in a table, or on all entries if `names` is nil.
    ///
    /// All entries are visited in small batches; threads that wait for the lock get it between two batches.
    func forEachEntry(
        of names: Set<[UInt8]>?, hash: KeyHash, _ body: (inout State, _ index: Int) -> Void
    ) {
        for name in names ?? [] {
            let hash = hash(name.span)
            withShard(of: hash) { state in
                if let index = state.table.find(name.span, hash: hash) { body(&state, index) }
            }
        }
        guard names == nil else { return }
        for shard in 0..<count {
            var start: Int? = 0
            while let from = start {
                start = withShard(at: shard) { state in
                    let entries = state.table.liveIndices(from: from)
                    for index in entries.found { body(&state, index) }
                    return entries.next
                }
                yieldToSleepers(at: shard)
            }
        }
    }
}
