internal import Synchronization

/// Decides whether a request may proceed: a ``RateLimiter`` without clock, randomness and IO.
///
/// For simulations, and for hot loops that have a clock of their own. An engine either owns its buckets (the embedded
/// store) or leases tokens from a store that other servers share. It may be called from any thread. The caller passes
/// instants and seeds.
///
/// The cost of a request is 0 to 10^9 whole tokens; a cost above the key's capacity, or outside this range, is always
/// denied. A key is any sequence of bytes. A decision from memory takes O(1) time and allocates nothing. A setting
/// outside its range counts as the nearest value inside; call ``LimiterSettings/validate()`` to reject it instead.
public final class RateLimiterEngine: Sendable {
    private enum Backend: ~Copyable, Sendable {
        case leased(LeaseDriver)
        case embedded(EmbeddedStore)
    }

    /// Not copyable: avoids reference-count contention between threads.
    private let backend: Backend
    private let hash: KeyHash
    private let prefetchHints: PrefetchHints
    private let currentLimits: Mutex<Limits>
    /// Held during a change of limits, until it has been applied to every key in memory.
    private let limitsChange = Mutex(())

    /// Creates a limiter with buckets of its own, for a single server.
    ///
    /// - Parameters:
    ///   - limits: the limit of every key.
    ///   - settings: the bounds of this limiter.
    ///   - seed: a secret random number, so that clients cannot choose keys that collide in the table.
    public init(limits: Limits, settings: LimiterSettings = LimiterSettings(), seed: UInt64) {
        currentLimits = Mutex(limits)
        hash = KeyHash(seed: seed)
        let store = EmbeddedStore(limits: limits, settings: settings.bounded, hash: hash)
        prefetchHints = store.prefetchHints
        backend = .embedded(store)
    }

    /// Creates a limiter that leases tokens from `store`.
    ///
    /// - Parameters:
    ///   - limits: the limit of every key.
    ///   - store: the store that holds the buckets.
    ///   - settings: the bounds of this limiter, and how it leases.
    ///   - lesseeID: the name under which the store records this limiter's leases. No two limiters may ever use the
    ///     same one, not even after a restart. Generate it at random each time the process starts.
    ///   - sizing: how many tokens to lease in advance.
    ///   - seed: a secret random number, so that clients cannot choose keys that collide in the table.
    public init(
        limits: Limits, store: some LeaseStore, lesseeID: String, settings: LimiterSettings = LimiterSettings(),
        sizing: any LeaseSizing = DemandSizing(), seed: UInt64
    ) {
        currentLimits = Mutex(limits)
        hash = KeyHash(seed: seed)
        let driver = LeaseDriver(
            limits: limits, store: store, lesseeID: lesseeID, settings: settings.bounded, sizing: sizing, hash: hash)
        prefetchHints = driver.prefetchHints
        backend = .leased(driver)
    }

    private var embedded: EmbeddedStore? {
        switch backend {
        case .embedded(let store): store
        case .leased: nil
        }
    }

    private var driver: LeaseDriver? {
        switch backend {
        case .embedded: nil
        case .leased(let driver): driver
        }
    }

    // MARK: Decisions

    /// Decides at once from memory; nil if the store must be asked.
    ///
    /// With the embedded store the result is never nil. While the key's node is unreachable the failure policy decides.
    ///
    /// - Parameters:
    ///   - key: the bytes that name the bucket.
    ///   - cost: 0 to 10^9 whole tokens.
    ///   - now: read once, while the key's slot is being fetched. Reading the clock there costs less than before the
    ///     call.
    @inline(__always)
    public func decideNow(_ key: Span<UInt8>, cost: Int = 1, now: @autoclosure () -> Instant) -> Decision? {
        let hash = hashAndPrefetch(key)
        let now = now()
        guard Self.isValid(cost) else { return denyForever(key, now: now) }
        return pay(key, hash: hash, cost: cost, now: now) ?? decide(key, hash: hash, cost: cost, now: now)
    }

    /// Decides whether a request may proceed, at once and without the balance; nil if the store must be asked.
    ///
    /// The outcome is that of ``decideNow(_:cost:now:)``. This method is faster with many keys, because its fast path
    /// reads one cache line of a lease instead of three.
    ///
    /// - Parameters:
    ///   - key: the bytes that name the bucket.
    ///   - cost: 0 to 10^9 whole tokens.
    ///   - now: read once, as in ``decideNow(_:cost:now:)``.
    public func allowNow(_ key: Span<UInt8>, cost: Int = 1, now: @autoclosure () -> Instant) -> Bool? {
        let hash = hashAndPrefetch(key)
        guard Self.isValid(cost) else { return false }
        let now = now()
        switch backend {
        case .embedded(let store):
            if store.spend(key, hash: hash, cost: cost, now: now) { return true }
        case .leased(let driver):
            if driver.spend(key, hash: hash, cost: UInt32(truncatingIfNeeded: cost), now: now) { return true }
        }
        return decide(key, hash: hash, cost: cost, now: now)?.isAllowed
    }

    /// Decides, and waits for the store if necessary, at most for the lease settings' timeout.
    public func decide(_ key: String, cost: Int = 1, now: Instant) async -> Decision {
        let hash = hashAndPrefetch(key.utf8.span)
        guard Self.isValid(cost) else { return denyForever(key.utf8.span, now: now) }
        if let decision = pay(key.utf8.span, hash: hash, cost: cost, now: now) { return decision }
        return await withCheckedContinuation { continuation in
            let decision = decide(key.utf8.span, hash: hash, cost: cost, now: now) {
                continuation.resume(returning: $0)
            }
            if let decision { continuation.resume(returning: decision) }
        }
    }

    /// Decides from memory, or returns nil and calls `resume` after the store's reply: once, on any thread, within the
    /// lease settings' timeout.
    ///
    /// `resume` is not called if this method returns a decision.
    public func decide(
        _ key: Span<UInt8>, cost: Int = 1, now: Instant, resume: @escaping @Sendable (Decision) -> Void
    ) -> Decision? {
        let hash = hashAndPrefetch(key)
        guard Self.isValid(cost) else { return denyForever(key, now: now) }
        return pay(key, hash: hash, cost: cost, now: now)
            ?? decide(key, hash: hash, cost: cost, now: now, resume: resume)
    }

    /// Hashes the key and prefetches its slot.
    ///
    /// The less work lies between the prefetches of two decisions, the likelier their cache misses overlap. With a
    /// million keys, a decision then takes 220 instead of 400 ns.
    @inline(__always)
    private func hashAndPrefetch(_ key: Span<UInt8>) -> UInt64 {
        let hash = hash(key)
        prefetchHints.prefetchSlot(of: hash)
        return hash
    }

    /// The fast path: nil if it cannot pay.
    @inline(__always)
    private func pay(_ key: Span<UInt8>, hash: UInt64, cost: Int, now: Instant) -> Decision? {
        switch backend {
        case .embedded(let store):
            return store.pay(key, hash: hash, cost: cost, now: now)
        case .leased(let driver):
            return driver.pay(key, hash: hash, cost: UInt32(truncatingIfNeeded: cost), now: now)
        }
    }

    /// The slow path: nil if the request waits, or if it would have to wait and `resume` is nil.
    @inline(never)
    private func decide(
        _ key: Span<UInt8>, hash: UInt64, cost: Int, now: Instant, resume: WaitQueues.Resume? = nil
    ) -> Decision? {
        switch backend {
        case .embedded(let store):
            return store.decide(key, hash: hash, cost: cost, now: now)
        case .leased(let driver):
            return driver.decide(key, hash: hash, cost: cost, now: now, resume: resume)
        }
    }

    @inline(__always)
    private static func isValid(_ cost: Int) -> Bool { 0...Limit.maximumCapacity ~= cost }

    /// Denies a cost that is not a number of tokens that any bucket could hold.
    @inline(never)
    private func denyForever(_ key: Span<UInt8>, now: Instant) -> Decision {
        .neverAllowed(limits.limit(of: key), balanceUnits: 0, at: now)
    }

    // MARK: Leases

    /// Returns every lease to the store, and waits until each request has been answered or has failed.
    ///
    /// To be called when the server stops. Later decisions lease again.
    public func returnLeases(clock: some TimeSource) async {
        await driver?.returnAll(clock: clock)
    }

    /// Returns the leases of keys whose partition has changed, and waits until each request is answered or has failed.
    ///
    /// To be called after the nodes of the store have changed. The tokens of a moved key are returned to its old
    /// partition; its later requests go to the new one. Keys that have not moved are not affected.
    public func returnMovedLeases(clock: some TimeSource) async {
        await driver?.returnMoved(clock: clock)
    }

    /// Returns the leases of keys that have fallen idle, so that other servers can use the tokens.
    ///
    /// To be called every 20 to 100 milliseconds; it does not wait for the store. Idle tokens that are not returned are
    /// lost when their lease expires. No effect with the embedded store.
    public func returnIdleLeases(now: Instant) {
        driver?.returnIdle(now: now)
    }

    /// Returns the lease of one key, and waits until the request has been answered or has failed.
    package func returnLease(of key: [UInt8], now: Instant) async {
        await driver?.returnTokens(of: key, now: now)
    }

    /// The outstanding tokens of a key: leased here and unspent; with `now`, only those that have not expired by then.
    ///
    /// 0 with the embedded store.
    package func outstandingTokens(_ key: Span<UInt8>, now: Instant? = nil) -> Int {
        driver?.outstandingTokens(of: key, at: now) ?? 0
    }

    /// The engine's counts, summed over its shards one after the other: O(shards), and each shard is locked briefly.
    public var statistics: LimiterStatistics {
        var statistics = LimiterStatistics()
        embedded?.add(to: &statistics)
        driver?.add(to: &statistics)
        return statistics
    }

    // MARK: Changes at run time

    /// The limits in force.
    public var limits: Limits {
        currentLimits.withLock { $0 }
    }

    /// Switches to other limits, for the keys in memory as well; returns when every key has them.
    ///
    /// A bucket keeps its tokens, up to the new capacity. Tokens leased under a higher limit are not spent any more, so
    /// a lowered limit applies at once. Concurrent changes wait for one another.
    ///
    /// - Parameters:
    ///   - now: the instant of the change: tokens that flowed in before follow the old limits.
    ///   - change: computes the new limits from the current ones. It is called once, with a lock held.
    public func changeLimits(now: Instant, _ change: (Limits) -> Limits) {
        limitsChange.withLock { _ in
            let old = currentLimits.withLock { $0 }
            let limits = change(old)
            guard limits != old else { return }
            currentLimits.withLock { $0 = limits }
            let names = old.changes(to: limits)
            embedded?.change(to: limits, names: names, now: now)
            driver?.change(to: limits, names: names, now: now)
        }
    }

    /// The lease settings in force; nil with the embedded store.
    public var leaseSettings: LeaseSettings? { driver?.leaseSettings }

    /// Switches to other lease settings from the next request to the store on; running leases keep their times.
    ///
    /// No effect with the embedded store.
    public func changeLeaseSettings(to settings: LeaseSettings) {
        driver?.change(to: settings.bounded)
    }

    /// The embedded store's bucket of a key, as a request would find it.
    ///
    /// nil if the key is not in memory, in which case its bucket is full, or if the buckets are in a shared store.
    package func embeddedBucket(of key: Span<UInt8>, now: Instant) -> TokenBucket? {
        embedded?.bucket(of: key, now: now)
    }

    /// Fills the embedded store's bucket of a key.
    ///
    /// With a shared store the caller fills the bucket there; this method then only discards this server's estimate of
    /// the balance.
    package func fillBucket(of key: Span<UInt8>, now: Instant) {
        embedded?.fill(key, now: now)
        driver?.invalidateEstimate(of: key)
    }
}
