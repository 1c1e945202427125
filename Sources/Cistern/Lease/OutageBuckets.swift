/// The buckets that meter keys while their node is unreachable, under the failure policy `local`, by entry index.
struct OutageBuckets: Sendable {
    private var buckets: [Int: LocalBucket] = [:]

    /// Decides from the bucket of the current outage; another outage or partition starts with a new bucket.
    ///
    /// - Parameters:
    ///   - lastSpentAt: when a token of the key was last spent here, leased or not.
    ///   - settings: the longest times of all lease settings that have been in force.
    mutating func decide(
        _ limit: Limit, cost: Int, at index: Int, partition: PartitionID, fraction: LocalFraction,
        lastSpentAt: Instant, settings: LeaseSettings, now: Instant
    ) -> Decision {
        var bucket =
            buckets[index].flatMap { $0.partition == partition && $0.fraction == fraction ? $0 : nil }
            ?? LocalBucket(
                limit, partition: partition, fraction: fraction, spentAt: lastSpentAt, settings: settings)
        let decision = bucket.decide(
            limit, costUnits: limit.units(of: cost), settings: settings, now: now)
        buckets[index] = bucket
        return decision
    }

    /// Removes the bucket of a key whose node is back, or whose limit or entry has changed.
    mutating func remove(at index: Int) {
        if !buckets.isEmpty { buckets[index] = nil }
    }
}
