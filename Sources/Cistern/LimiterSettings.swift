/// The bounds and choices of one limiter.
public struct LimiterSettings: Sendable, Equatable {
    /// How many organizations are kept in memory; an idle one makes room for a new one.
    ///
    /// With the embedded store a newcomer is refused while every bucket is in use; with a shared store the oldest lease
    /// is given up. 1 to 2^31.
    public var maximumBuckets = 1_000_000
    /// How many requests of one organization may wait for the store at once; more are refused.
    public var maximumWaitersPerKey = 10_000
    /// How many keys that are not in memory are taken in a second; more are denied.
    ///
    /// 0 for any number, else up to 10^9. It protects a store, and the keys in memory, from callers who choose names
    /// freely. A limiter that starts knows none.
    public var maximumNewKeysPerSecond = 0
    /// What happens while the store is out of reach.
    public var failurePolicy = FailurePolicy.open
    /// How much to lease and for how long.
    ///
    /// Of no account with the embedded store.
    public var lease = LeaseSettings()

    /// The settings that suit most services.
    public init() {}
}
