internal import Cistern

/// One node of the store.
struct Node {
    /// What one organization has here.
    struct Entry {
        /// With its leases.
        var bucket: StoreBucket
        /// For limiters that lease nothing.
        var plain: TokenBucket
    }

    let id: Int
    var entries: [Int: Entry] = [:]
    var isUp = true
    /// By how much its clock has stepped so far.
    var clockOffset: Time = 0
    /// Whether it has the script in memory.
    var knowsScript = false
    /// Until when it hangs.
    var hangsUntil: Time = 0
    /// What came while it hung.
    var backlog: [Message] = []

    init(id: Int) {
        self.id = id
    }

    /// The moment that its clock takes for now.
    func clock(at now: Time) -> Time { now + clockOffset }

    /// The entry of an organization, which starts full where the node has none, or none that has not expired.
    func entry(_ key: Int, limit: Limit, leaseMilliseconds: Int64, now: Time) -> Entry {
        let milliseconds = clock(at: now).storeMilliseconds
        let life = StoreBucket.lifeMilliseconds(of: limit, leaseMilliseconds: leaseMilliseconds)
        if let entry = entries[key],
            milliseconds - max(entry.bucket.asOfMilliseconds, entry.plain.asOfMilliseconds) < life
        {
            return entry
        }
        return Entry(
            bucket: StoreBucket(full: limit, nowMilliseconds: milliseconds),
            plain: TokenBucket(full: limit, nowMilliseconds: milliseconds))
    }
}
