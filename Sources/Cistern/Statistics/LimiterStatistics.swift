/// What a limiter has counted since it was made, and what it holds now.
package struct LimiterStatistics: Sendable {
    package var decisions = DecisionTally()
    package var leaseTokens = LeaseTokenTally()
    /// How long those waited that waited for the store.
    package var waits = LatencyHistogram()
    /// Buckets or leases in memory now.
    package var cachedBuckets = 0
    /// Buckets or leases that made room for others.
    package var evictions: UInt64 = 0

    package init() {}
}

/// Whole tokens of leases, by what became of them.
///
/// What was granted is outstanding until one of the others counts it.
package struct LeaseTokenTally: Sendable, Equatable, BitwiseCopyable {
    package var granted: UInt64 = 0
    package var spent: UInt64 = 0
    package var returned: UInt64 = 0
    package var expired: UInt64 = 0

    package init() {}

    /// Tokens that are leased and not spent, returned or seen to have lapsed.
    package var outstanding: UInt64 {
        granted &- spent &- returned &- expired
    }

    static func += (sum: inout LeaseTokenTally, other: LeaseTokenTally) {
        sum.granted &+= other.granted
        sum.spent &+= other.spent
        sum.returned &+= other.returned
        sum.expired &+= other.expired
    }
}

/// Requests that tokens held have paid for: the two counts that nearly every decision raises, on one cache line.
struct PaidTally: Sendable, BitwiseCopyable {
    /// The tokens in the high half, the requests in the low one: one addition raises both.
    private var both: UInt128 = 0

    var requests: UInt64 { UInt64(truncatingIfNeeded: both) }
    var tokens: UInt64 { UInt64(truncatingIfNeeded: both >> 64) }

    @inline(__always)
    mutating func count(_ cost: UInt32) {
        both &+= UInt128(cost) << 64 | 1
    }
}
