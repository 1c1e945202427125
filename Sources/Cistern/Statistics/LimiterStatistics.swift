/// A limiter's counters since its creation, and the number of its buckets or leases now.
package struct LimiterStatistics: Sendable {
    package var decisions = DecisionTally()
    package var leaseTokens = LeaseTokenTally()
    /// Waiting times of the decisions that waited for the store.
    package var waits = LatencyHistogram()
    /// Buckets or leases in memory now.
    package var cachedBuckets = 0
    /// Buckets or leases evicted to make room for others.
    package var evictions: UInt64 = 0

    package init() {}
}

/// Whole tokens of leases, by what happened to them.
///
/// Granted tokens are outstanding until one of the other counters includes them.
package struct LeaseTokenTally: Sendable, Equatable, BitwiseCopyable {
    package var granted: UInt64 = 0
    package var spent: UInt64 = 0
    package var returned: UInt64 = 0
    package var expired: UInt64 = 0

    package init() {}

    /// Leased tokens that are not spent, returned or known to have expired.
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

/// Requests paid from tokens held here: the two counters that nearly every decision increments, on one cache line.
struct PaidTally: Sendable, BitwiseCopyable {
    /// Tokens in the high half and requests in the low half, so that one addition increments both.
    private var packedCounts: UInt128 = 0

    var requests: UInt64 { UInt64(truncatingIfNeeded: packedCounts) }
    var tokens: UInt64 { UInt64(truncatingIfNeeded: packedCounts >> 64) }

    @inline(__always)
    mutating func count(_ cost: UInt32) {
        packedCounts &+= UInt128(cost) << 64 | 1
    }
}
