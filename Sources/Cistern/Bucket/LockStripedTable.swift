internal import Synchronization

/// A state split over locks by the hash of a name, so that two organizations seldom wait for each other.
///
/// Each shard begins on a cache line of its own, with its lock and what every decision looks at, and two lines lie
/// between what two of them write, so that taking one does not slow a neighbor's.
///
/// Sendable, unchecked: a shard's state is reached through `withLock` alone, so by one thread at a time; all else is
/// constant or atomic, and what `makeState` returned nobody else has.
struct LockStripedTable<State: ~Copyable>: ~Copyable, @unchecked Sendable {
    /// How far behind its shard's lock a state begins: on the same cache line.
    private static var stateOffset: Int { max(MemoryLayout<ShardLock>.stride, MemoryLayout<State>.alignment) }
    /// How far apart two shards begin.
    private static var stride: Int { (stateOffset + MemoryLayout<State>.size + 127) / 128 * 128 + 128 }

    /// What a table holds at most; it does not depend on what it holds of each.
    private static var largestShard: Int { BucketTable<LimitedBucket>.largestCapacity }
    /// Below this many buckets a shard is not worth splitting; it also evens out how full the shards become.
    private static var minimumBucketsPerShard: Int { 1024 }

    /// Enough that two of 64 busy cores rarely meet on one; more only where a table could not hold its part.
    private static var commonShards: Int { 256 }

    private let memory: UnsafeMutableRawPointer
    /// For who knows a hash some time before it asks for the shard.
    let prefetchHints: PrefetchHints
    private let selector: ShardSelector
    /// How many are in use: a power of two.
    var count: Int { selector.count }

    /// Creates enough shards for `capacity` buckets, each made by `makeState` from the capacity of one shard.
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

    /// Runs `body` on the state that names with this hash belong to, alone.
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

    /// Runs `body` on the state with this number, alone.
    func withShard<Result: ~Copyable>(
        at index: Int, _ body: (inout sending State) -> sending Result
    ) -> sending Result {
        precondition(0..<count ~= index, "no such shard")
        return withLock(at: index, body)
    }

    /// Lets those in that wait for the shard with this number.
    ///
    /// For who goes over all that is in it, and has let go of it just now.
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

/// A shard's state that has a table of organizations in it.
protocol TableState: ~Copyable {
    associatedtype Value: TableValue
    var table: BucketTable<Value> { get set }
}

extension LockStripedTable where State: TableState & ~Copyable {
    /// Adds a name to the table of its shard, whose state this is, and returns its position.
    ///
    /// As ``BucketTable/insert(_:hash:value:)``: the table must neither hold it nor be full.
    func insert(_ name: Span<UInt8>, hash: UInt64, value: State.Value, into state: inout State) -> Int {
        let position = state.table.insert(name, hash: hash, value: value)
        state.table.updateHint(in: prefetchHints[selector.index(of: hash)])
        return position
    }

    /// Whether it is known of each shard where its slots stand.
    func knowsSlots() -> Bool {
        (0..<count).allSatisfy { shard in
            withShard(at: shard) { $0.table.hasSlots(in: prefetchHints[shard]) }
        }
    }

    /// Runs `body` on the place of each of these names that is in a table; without names on every place there is.
    ///
    /// Of each table a few places at a time, and whoever waits for the lock comes in between.
    func forEachPlace(
        of names: Set<[UInt8]>?, hash: NameHash, _ body: (inout State, _ position: Int) -> Void
    ) {
        for name in names ?? [] {
            let hash = hash(name.span)
            withShard(of: hash) { state in
                if let position = state.table.find(name.span, hash: hash) { body(&state, position) }
            }
        }
        guard names == nil else { return }
        for shard in 0..<count {
            var start: Int? = 0
            while let from = start {
                start = withShard(at: shard) { state in
                    let positions = state.table.liveIndices(from: from)
                    for position in positions.found { body(&state, position) }
                    return positions.next
                }
                yieldToSleepers(at: shard)
            }
        }
    }
}
