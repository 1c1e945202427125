internal import Cistern

/// One node of the store.
struct Node {
    /// The state of one key on this node.
    struct Entry {
        /// The bucket with its leases.
        var bucket: StoreBucket
        /// The bucket for limiters without leases.
        var unleasedBucket: TokenBucket
    }

    let id: Int
    var entries: [Int: Entry] = [:]
    var isUp = true
    /// The sum of its clock's steps so far.
    var clockOffset: Time = 0
    /// Whether it has the script in memory.
    var knowsScript = false
    /// The node handles no messages before this time.
    var hangsUntil: Time = 0
    /// Messages received while it hung.
    var backlog: [Message] = []

    init(id: Int) {
        self.id = id
    }

    /// The time that its clock shows at a time of the world.
    func clock(at now: Time) -> Time { now + clockOffset }

    /// Returns the entry of a key, or a full one if the node has none or it has expired.
    func entry(_ key: Int, limit: Limit, leaseMilliseconds: Int64, now: Time) -> Entry {
        let milliseconds = clock(at: now).storeMilliseconds
        let life = StoreBucket.timeToLiveMilliseconds(of: limit, leaseMilliseconds: leaseMilliseconds)
        if let entry = entries[key],
            milliseconds
                - max(
                    entry.bucket.asOfMilliseconds - entry.bucket.clockOffsetMilliseconds,
                    entry.unleasedBucket.asOfMilliseconds) < life
        {
            return entry
        }
        return Entry(
            bucket: StoreBucket(full: limit, nowMilliseconds: milliseconds),
            unleasedBucket: TokenBucket(full: limit, nowMilliseconds: milliseconds))
    }
}
