internal import BasicContainers
internal import Synchronization

/// A state split over locks by the hash of a name, so that two organisations seldom wait for each other.
///
/// Each shard stands on cache lines of its own: the padding keeps the locks of two shards two lines apart, wherever
/// the array begins, so that taking one does not slow a neighbour's.
struct Shards<State: ~Copyable & Sendable>: ~Copyable, Sendable {
    private struct Shard: ~Copyable, Sendable {
        let state: Mutex<State>
        let padding = InlineArray<16, UInt64>(repeating: 0)

        init(_ state: consuming sending State) {
            self.state = Mutex(state)
        }
    }

    /// The most shards: enough that two of 64 busy cores rarely meet on one.
    private static var maximumCount: Int { 256 }
    /// Below this many buckets a shard is not worth splitting; it also evens out how full the shards become.
    private static var minimumBucketsPerShard: Int { 1024 }

    private let shards: RigidArray<Shard>
    private let shift: UInt64

    /// Creates enough shards for `capacity` buckets, each made by `makeState` from the capacity of one shard.
    init(capacity: Int, makeState: (_ shardCapacity: Int) -> sending State) {
        var count = 1
        while count < Self.maximumCount, capacity / (count * 2) >= Self.minimumBucketsPerShard { count *= 2 }
        var shards = RigidArray<Shard>(capacity: count)
        let shardCapacity = (capacity + count - 1) / count
        for _ in 0..<count { shards.append(Shard(makeState(shardCapacity))) }
        self.shards = shards
        shift = UInt64(64 - count.trailingZeroBitCount)
    }

    var count: Int { shards.count }

    /// Runs `body` on the state that names with this hash belong to, alone.
    ///
    /// The highest bits choose the shard, since the table in it is indexed by the lowest.
    @inline(__always)
    func withShard<Result: ~Copyable>(of hash: UInt64, _ body: (inout sending State) -> sending Result)
        -> sending Result
    {
        shards[count == 1 ? 0 : Int(truncatingIfNeeded: hash >> shift)].state.withLock(body)
    }

    /// Runs `body` on each state in turn.
    func forEach(_ body: (inout sending State) -> Void) {
        for index in 0..<shards.count {
            shards[index].state.withLock { body(&$0) }
        }
    }
}
