/// The settings of one limiter.
public struct LimiterSettings: Sendable, Equatable {
    /// The maximum number of keys in memory, 1 to 2^31; a new key evicts an idle one.
    ///
    /// If no key is idle, the embedded store refuses the new key; with a shared store, the lease of another key is
    /// dropped, preferably that of a key not used recently.
    public var maximumBuckets = 1_000_000
    /// The maximum number of requests of one key that may wait for the store; further ones are refused.
    public var maximumWaitersPerKey = 10_000
    /// The maximum number of new keys per second, up to 10^9; further new keys are denied.
    ///
    /// 0 means no maximum.
    ///
    /// A key is new if it is not in memory, as every key is after a start. The maximum protects the store and the keys
    /// in memory from clients that choose keys freely.
    public var maximumNewKeysPerSecond = 0
    /// How requests are decided while the store is unreachable.
    public var failurePolicy = FailurePolicy.open
    /// How much to lease and for how long.
    ///
    /// Not used with the embedded store.
    public var lease = LeaseSettings()

    /// Creates the default settings, which suit most services.
    public init() {}
}
