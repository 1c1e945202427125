/// A limiter's counts since its creation, and what is in memory now.
public struct LimiterStatistics: Sendable {
    /// Decisions by outcome.
    public package(set) var decisions = DecisionTally()
    /// Leased tokens by what happened to them; all 0 without a store.
    public package(set) var leaseTokens = LeaseTokenTally()
    /// Lease requests sent to the store.
    public package(set) var storeCalls: UInt64 = 0
    /// Lease requests that got no grant: the node was unreachable, late, overloaded, or rejected them.
    public package(set) var storeFailures: UInt64 = 0
    /// Waiting times of the decisions that waited for the store.
    package var waits = LatencyHistogram()
    /// Buckets or leases in memory now.
    public package(set) var cachedBuckets = 0
    /// Buckets or leases evicted to make room for others.
    public package(set) var evictions: UInt64 = 0

    package init() {}

    /// The total time that decisions waited for the store.
    public var waitTime: Duration { .nanoseconds(waits.sumNanoseconds) }
}

/// Whole tokens of leases, by what happened to them.
///
/// Granted tokens are outstanding until one of the other counters includes them.
public struct LeaseTokenTally: Sendable, Equatable, BitwiseCopyable {
    /// Tokens that the store has granted.
    public package(set) var granted: UInt64 = 0
    /// Tokens that paid for requests.
    public package(set) var spent: UInt64 = 0
    /// Tokens that went back to the store.
    public package(set) var returned: UInt64 = 0
    /// Stranded tokens: their lease expired before they were spent or returned.
    public package(set) var expired: UInt64 = 0

    package init() {}

    /// Leased tokens that are not spent, returned or known to have expired.
    public var outstanding: UInt64 {
        granted &- spent &- returned &- expired
    }

    static func += (sum: inout LeaseTokenTally, other: LeaseTokenTally) {
        sum.granted &+= other.granted
        sum.spent &+= other.spent
        sum.returned &+= other.returned
        sum.expired &+= other.expired
    }
}
