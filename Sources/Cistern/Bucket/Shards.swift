internal import Synchronization

/// A state split over locks by the hash of a name, so that two organisations seldom wait for each other.
///
/// Each shard stands on cache lines of its own: the padding keeps the locks of two shards two lines apart, wherever
/// the array begins, so that taking one does not slow a neighbour's.
struct Shards<State: ~Copyable>: ~Copyable, Sendable {
    private struct Shard: ~Copyable, Sendable {
        let state: Mutex<State>
        let annotation = LockAnnotation()
        let padding = InlineArray<16, UInt64>(repeating: 0)

        init(_ state: consuming sending State) {
            self.state = Mutex(state)
        }

        @inline(__always)
        func withLock<Result: ~Copyable>(_ body: (inout sending State) -> sending Result) -> sending Result {
            state.withLock { state in
                annotation.acquired()
                defer { annotation.releasing() }
                return body(&state)
            }
        }
    }

    /// Below this many buckets a shard is not worth splitting; it also evens out how full the shards become.
    private static var minimumBucketsPerShard: Int { 1024 }

    /// Enough that two of 64 busy cores rarely meet on one.
    ///
    /// A small store uses only the first few.
    private let shards: InlineArray<256, Shard>
    /// Of each shard, where its slots stand; apart from the locks, since all threads read this and hardly any writes it.
    private let slotPlaces: InlineArray<256, SlotPlace>
    /// How many are in use: a power of two.
    let count: Int
    private let mask: UInt64

    /// Creates enough shards for `capacity` buckets, each made by `makeState` from the capacity of one shard.
    init(capacity: Int, makeState: (_ shardCapacity: Int) -> sending State) {
        var count = 1
        while count < 256, capacity / (count * 2) >= Self.minimumBucketsPerShard { count *= 2 }
        let shardCapacity = (capacity + count - 1) / count
        shards = InlineArray { _ in Shard(makeState(shardCapacity)) }
        slotPlaces = InlineArray { _ in SlotPlace() }
        self.count = count
        mask = UInt64(count - 1)
    }

    /// The shard of names with this hash: the highest bits choose it, since the table in it is indexed by the lowest.
    @inline(__always)
    private func index(of hash: UInt64) -> Int { Int(truncatingIfNeeded: hash >> 56 & mask) }

    /// Has the processor fetch what a look for a name with this hash begins with, and does not wait.
    @inline(__always)
    func fetchSlot(of hash: UInt64) {
        slotPlaces[index(of: hash)].fetchSlot(of: hash)
    }

    /// Runs `body` on the state that names with this hash belong to, alone.
    @inline(__always)
    func withShard<Result: ~Copyable>(
        of hash: UInt64, _ body: (inout sending State) -> sending Result
    ) -> sending Result {
        shards[index(of: hash)].withLock(body)
    }

    /// Runs `body` on the state with this number, alone.
    func withShard<Result: ~Copyable>(
        at index: Int, _ body: (inout sending State) -> sending Result
    ) -> sending Result {
        shards[index].withLock(body)
    }

    /// Runs `body` on each state in turn.
    func forEach(_ body: (inout sending State) -> Void) {
        for index in 0..<count {
            shards[index].withLock { body(&$0) }
        }
    }
}

/// A shard's state that has a table of organisations in it.
protocol TableState: ~Copyable {
    associatedtype Value: BitwiseCopyable
    var table: BucketTable<Value> { get set }
}

extension Shards where State: TableState & ~Copyable {
    /// Adds a name to the table of its shard, whose state this is, and returns its position.
    ///
    /// As ``BucketTable/insert(_:hash:value:)``: the table must neither hold it nor be full.
    func insert(_ name: Span<UInt8>, hash: UInt64, value: State.Value, into state: inout State) -> Int {
        let position = state.table.insert(name, hash: hash, value: value)
        state.table.noteSlots(in: slotPlaces[index(of: hash)])
        return position
    }

    /// Whether it is known of each shard where its slots stand.
    func knowsSlots() -> Bool {
        (0..<count).allSatisfy { shard in
            withShard(at: shard) { $0.table.hasSlots(in: slotPlaces[shard]) }
        }
    }

    /// Runs `body` on the place of each of these names that is in a table; without names on every place there is.
    ///
    /// Of each table a few places at a time: others wait for the lock meanwhile.
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
                    let positions = state.table.livePositions(from: from)
                    for position in positions.found { body(&state, position) }
                    return positions.next
                }
            }
        }
    }
}
