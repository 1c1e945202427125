internal import Synchronization

/// Decides whether a request may proceed: the limiter that a service uses.
///
/// ```swift
/// let limiter = try RateLimiter(limit: .perMinute(600, capacity: 100))
/// if try await limiter.acquire("acme").isAllowed { … }
/// ```
///
/// Without a store, the limiter keeps its buckets in memory, and every decision is immediate. With a store, it leases
/// tokens that other servers share and decides from its leases; ``run()`` connects it, and returns the leases at the
/// end. Add the limiter to the services of an application, before those that use it.
///
/// The limiter may be called from any thread. A decision from memory takes O(1) time, allocates nothing, and takes less
/// than 100 ns on current processors. ``RateLimiterEngine`` is the same without clock, randomness and IO.
public final class RateLimiter: Sendable {
    /// The maximum length of a key, in bytes.
    public static let maximumKeyBytes = 1024

    package let engine: RateLimiterEngine
    /// The settings that the limiter was created with.
    public let settings: LimiterSettings
    /// Separates this limiter's buckets in a shared store from those of limiters with other purposes.
    public let namespace: String
    private let clock: LimiterClock
    /// The same clock, for callers who may copy it.
    let timeSource: any TimeSource
    /// Whether memory may decide: always without a store, and with one while it is connected.
    let decidesFromMemory: Atomic<Bool>
    /// nil if the buckets are in memory.
    let store: (any LeaseStore)?
    let lifecycle = Lifecycle()
    #if Observability
        let observer: LimiterObserver
    #endif

    /// Creates a limiter with the same limit for every key.
    ///
    /// - Parameters:
    ///   - limit: the limit of every key, such as `.perSecond(10, capacity: 100)`.
    ///   - store: the store to share limits through, such as `.redis("redis://127.0.0.1:6379")`; nil for memory.
    ///   - namespace: separates this limiter's buckets in the store: 1 to 64 letters, digits, `-`, `_` or `.`.
    ///     Limiters with the same namespace share buckets, so two limiters for two purposes need two.
    ///   - settings: the failure policy, bounds, and how tokens are leased.
    ///   - clock: the clock of all decisions; nil for ``TickClock``. Tests give a manual clock.
    /// - Throws: ``InvalidSetting``, or the store's error, such as an invalid URL.
    public convenience init(
        limit: Limit, store: SharedStore? = nil, namespace: String = StoreEnvironment.defaultNamespace,
        settings: LimiterSettings = LimiterSettings(), clock: (any TimeSource)? = nil
    ) throws {
        try self.init(
            limits: Limits(standard: limit), store: store, namespace: namespace, settings: settings, clock: clock)
    }

    /// Creates a limiter with limits for single keys.
    ///
    /// - Parameters:
    ///   - limits: a default, and limits by key.
    ///   - store: the store to share limits through; nil for memory.
    ///   - namespace: separates this limiter's buckets in the store.
    ///   - settings: the failure policy, bounds, and how tokens are leased.
    ///   - sizing: how many tokens to lease in advance.
    ///   - clock: the clock of all decisions; nil for ``TickClock``.
    /// - Throws: ``InvalidSetting``, or the store's error, such as an invalid URL.
    public init(
        limits: Limits, store: SharedStore? = nil, namespace: String = StoreEnvironment.defaultNamespace,
        settings: LimiterSettings = LimiterSettings(), sizing: any LeaseSizing = DemandSizing(),
        clock: (any TimeSource)? = nil
    ) throws {
        try settings.validate()
        try StoreEnvironment.validate(namespace: namespace)
        self.settings = settings
        self.namespace = namespace
        if let clock {
            self.clock = .given(clock)
            timeSource = clock
        } else {
            let ticks = TickClock()
            self.clock = .ticks(ticks)
            timeSource = ticks
        }
        decidesFromMemory = Atomic(store == nil)
        let seed = UInt64.random(in: 0 ... .max)
        if let store {
            let environment = StoreEnvironment(clock: timeSource, namespace: namespace, settings: settings)
            let connection = try store.make(environment)
            self.store = connection
            engine = RateLimiterEngine(
                limits: limits, store: connection, lesseeID: environment.lesseeID, settings: settings, sizing: sizing,
                seed: seed)
        } else {
            self.store = nil
            engine = RateLimiterEngine(limits: limits, settings: settings, seed: seed)
        }
        #if Observability
            observer = LimiterObserver(namespace: namespace)
        #endif
    }

    // MARK: Decisions

    /// Takes `cost` tokens from the bucket of `key` if it has them; waits for the store if memory cannot decide.
    ///
    /// It waits at most for ``LeaseSettings/timeout``, and then the failure policy decides. Before the store has been
    /// tried, it waits at most as long for that first. If the task is canceled during a wait, the wait ends, and the
    /// tokens of this request may be lost.
    ///
    /// - Parameters:
    ///   - key: names the bucket: 1 to ``maximumKeyBytes`` bytes of UTF-8. Strings that Unicode calls equal are
    ///     different keys if their bytes differ.
    ///   - cost: 0 to 10^9 tokens. A cost above the capacity is denied, with no time to retry.
    /// - Throws: ``AcquireError``; the request must then not proceed.
    public func acquire(_ key: String, cost: Int = 1) async throws(AcquireError) -> Decision {
        if let decision = try tryAcquire(key, cost: cost) { return decision }
        return try await waitForDecision(Array(key.utf8), cost: cost)
    }

    /// As ``acquire(_:cost:)-(String,_)``, for a key of any bytes.
    public func acquire(_ key: Span<UInt8>, cost: Int = 1) async throws(AcquireError) -> Decision {
        if let decision = try tryAcquire(key, cost: cost) { return decision }
        return try await waitForDecision(key.withUnsafeBufferPointer { Array($0) }, cost: cost)
    }

    /// Decides at once from memory; nil if the store must be asked, or if the limiter is not running.
    ///
    /// Without a store the result is never nil. While the key's node is unreachable, the failure policy decides.
    ///
    /// - Parameters:
    ///   - key: as in ``acquire(_:cost:)-(String,_)``.
    ///   - cost: 0 to 10^9 tokens.
    /// - Throws: ``AcquireError`` for an invalid key or cost.
    public func tryAcquire(_ key: String, cost: Int = 1) throws(AcquireError) -> Decision? {
        try tryAcquire(key.utf8.span, cost: cost)
    }

    /// As ``tryAcquire(_:cost:)-(String,_)``, for a key of any bytes.
    public func tryAcquire(_ key: Span<UInt8>, cost: Int = 1) throws(AcquireError) -> Decision? {
        guard 1...Self.maximumKeyBytes ~= key.count, 0...Limit.maximumCapacity ~= cost else {
            throw Self.error(keyBytes: key.count, cost: cost)
        }
        guard decidesFromMemory.load(ordering: .acquiring) else { return nil }
        return engine.decideNow(key, cost: cost, now: clock.now())
    }

    /// Decides from memory, or returns nil and calls `completion` once, on any thread.
    ///
    /// For code without Swift concurrency, such as channel handlers. It waits as long as
    /// ``acquire(_:cost:)-(String,_)``. `completion` is not called if this method returns a decision or throws.
    ///
    /// - Parameters:
    ///   - key: a key of any bytes, 1 to ``maximumKeyBytes``.
    ///   - cost: 0 to 10^9 tokens.
    ///   - completion: gets the decision, or the error that prevents one.
    /// - Throws: ``AcquireError`` for an invalid key or cost.
    public func acquire(
        _ key: Span<UInt8>, cost: Int = 1,
        completion: @escaping @Sendable (Result<Decision, AcquireError>) -> Void
    ) throws(AcquireError) -> Decision? {
        if let decision = try tryAcquire(key, cost: cost) { return decision }
        guard decidesFromMemory.load(ordering: .acquiring) else {
            let bytes = key.withUnsafeBufferPointer { Array($0) }
            Task { completion(await self.outcome(of: bytes, cost: cost)) }
            return nil
        }
        #if Observability
            let completion = observer.observing(completion)
        #endif
        return engine.decide(key, cost: cost, now: clock.now()) { completion(.success($0)) }
    }

    @inline(never)
    private static func error(keyBytes: Int, cost: Int) -> AcquireError {
        if keyBytes == 0 { return .emptyKey }
        return keyBytes > maximumKeyBytes ? .keyTooLong(bytes: keyBytes) : .invalidCost(cost)
    }

    /// Waits for the start if necessary, and then for the store.
    private func waitForDecision(_ key: [UInt8], cost: Int) async throws(AcquireError) -> Decision {
        try await outcome(of: key, cost: cost).get()
    }

    private func outcome(of key: [UInt8], cost: Int) async -> PendingDecision.Outcome {
        if !decidesFromMemory.load(ordering: .acquiring) {
            let phase = await lifecycle.waitForStart(
                atMost: settings.lease.timeout, mostWaiters: settings.maximumWaitersPerKey)
            guard !Task.isCancelled else { return .failure(.canceled) }
            switch phase {
            case .new: return .failure(.notRunning)
            case .stopped: return .failure(.stopped)
            // A store that is still being tried has not answered in time, so the failure policy decides.
            case .starting, .running: break
            }
        }
        #if Observability
            return await observer.observeWait { await ask(key, cost: cost) }
        #else
            return await ask(key, cost: cost)
        #endif
    }

    private func ask(_ key: [UInt8], cost: Int) async -> PendingDecision.Outcome {
        let pending = PendingDecision()
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                guard pending.begin(continuation) else { return }
                let decision = engine.decide(key.span, cost: cost, now: clock.now()) { pending.finish(.success($0)) }
                if let decision { pending.finish(.success(decision)) }
            }
        } onCancel: {
            pending.finish(.failure(.canceled))
        }
    }

    // MARK: Changes and figures

    /// The limits in force, including overrides that operators have set in the store.
    public var limits: Limits { engine.limits }

    /// Switches to other limits, for the keys in memory as well; returns when every key has them.
    ///
    /// A bucket keeps its tokens, up to the new capacity. O(keys in memory) if the default limit changes.
    ///
    /// Overrides that operators have set in the store stay in force.
    ///
    /// - Parameter change: computes the new limits from the current ones. It is called once, with a lock held.
    public func changeLimits(_ change: (Limits) -> Limits) {
        engine.changeLimits(now: clock.now()) { $0.replaced(by: change($0)) }
    }

    /// Switches to other lease settings, from the next request to the store on; the clock drift must stay.
    ///
    /// - Throws: ``InvalidSetting``; nothing has changed then.
    public func changeLeaseSettings(to lease: LeaseSettings) throws(InvalidSetting) {
        try lease.validate()
        guard lease.clockDriftPerMille == settings.lease.clockDriftPerMille else {
            throw InvalidSetting(
                name: LeaseSettings.Field.clockDrift.rawValue, value: "\(lease.clockDriftPerMille)",
                remedy: "create another limiter: the store keeps the drift of \(settings.lease.clockDriftPerMille)")
        }
        engine.changeLeaseSettings(to: lease)
    }

    /// The counts since the creation, and what is in memory now: O(1), but each of up to a few hundred shards is locked
    /// briefly.
    public var statistics: LimiterStatistics { engine.statistics }

    /// The state of each node of the store; empty without a store.
    public var nodeStates: [StoreNode] { store?.nodeStates ?? [] }
}
