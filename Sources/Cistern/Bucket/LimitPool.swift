/// The limits of one shard's buckets, each kept once: a bucket refers to its limit by a number.
///
/// Most buckets share a few limits, and a limit beside each bucket would not fit on the cache line of the key.
struct LimitPool: Sendable {
    /// The number of a limit in its pool; valid while a bucket uses it.
    typealias ID = UInt32

    private var limits: [Limit] = []
    /// How many buckets use each limit.
    private var uses: [Int] = []
    private var ids: [Limit: ID] = [:]
    private var freeIDs: [ID] = []

    @inline(__always)
    subscript(id: ID) -> Limit { limits[Int(id)] }

    /// Adds one use of a limit and returns its number.
    mutating func retain(_ limit: Limit) -> ID {
        if let id = ids[limit] {
            uses[Int(id)] += 1
            return id
        }
        let id = freeIDs.popLast() ?? ID(limits.count)
        if id == limits.count {
            limits.append(limit)
            uses.append(1)
        } else {
            (limits[Int(id)], uses[Int(id)]) = (limit, 1)
        }
        ids[limit] = id
        return id
    }

    /// Ends one use of a limit; its number is given to another limit after the last one.
    mutating func release(_ id: ID) {
        uses[Int(id)] -= 1
        guard uses[Int(id)] == 0 else { return }
        ids[limits[Int(id)]] = nil
        freeIDs.append(id)
    }

    /// How many limits are in use.
    var count: Int { ids.count }
}
