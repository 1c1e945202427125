public import Cistern
internal import Synchronization

/// A shared store in this process, for tests: several limiters share buckets through it.
///
/// It follows the same rules as the script in Redis (`StoreBucket`), and delays or fails requests on demand.
/// All its limiters use its ``clock``.
///
/// ```swift
/// let store = InMemoryStore()
/// let limiter = try RateLimiter(limit: .perSecond(10), store: .inMemory(store), clock: store.clock)
/// try await limiter.withRunning {
///     _ = try await limiter.acquire("acme")
/// }
/// ```
public final class InMemoryStore: Sendable {
    private struct State {
        var buckets: [[UInt8]: StoreBucket] = [:]
        var latency = Duration.zero
        var unreachableSince: Instant?
        var failures: [LeaseFailure] = []
        var overrides: [String: [String: Limit]] = [:]
        var connections = 0
        var requestCount = 0
    }

    /// The clock of the store and its limiters.
    public let clock: ManualClock
    private let state = Mutex(State())

    /// Creates a store in which every bucket is full.
    public init(clock: ManualClock = ManualClock()) {
        self.clock = clock
    }

    /// The time from a request to its reply, up to a day; zero for replies at once.
    ///
    /// The store acts on a request halfway. Replies arrive when the clock is advanced. A reply that would arrive after
    /// the request's deadline is replaced by a timeout at the deadline.
    public var latency: Duration {
        get { state.withLock { $0.latency } }
        set { state.withLock { $0.latency = newValue } }
    }

    /// Whether the store's only node is reachable; while it is not, the limiters' failure policies decide.
    ///
    /// With the policy `local`, each limiter then has an equal fraction of every limit.
    public var isReachable: Bool {
        get { state.withLock { $0.unreachableSince == nil } }
        set {
            let now = clock.now()
            state.withLock { $0.unreachableSince = newValue ? nil : $0.unreachableSince ?? now }
        }
    }

    /// Makes the next requests fail, one with each of these failures, before the store acts on them.
    public func failNextRequests(with failures: LeaseFailure...) {
        state.withLock { $0.failures += failures }
    }

    /// Sets the limit that operators have set for a key, or removes it.
    ///
    /// Running limiters apply it at their next refresh, at most half a second later.
    public func setOverride(_ limit: Limit?, of key: String, namespace: String = StoreEnvironment.defaultNamespace) {
        state.withLock { $0.overrides[namespace, default: [:]][key] = limit }
    }

    /// How many requests limiters have sent.
    public var requestCount: Int { state.withLock { $0.requestCount } }

    /// How many limiters are connected.
    public var connectionCount: Int { state.withLock { $0.connections } }

    /// The tokens of a key that limiters hold, as far as the store knows.
    public func outstandingTokens(of key: String, namespace: String = StoreEnvironment.defaultNamespace) -> Int {
        state.withLock { $0.buckets[Self.name(Array(key.utf8), namespace)]?.outstanding ?? 0 }
    }

    private static func name(_ key: [UInt8], _ namespace: String) -> [UInt8] { Array("\(namespace):".utf8) + key }

    // MARK: For connections

    fileprivate func connect() { state.withLock { $0.connections += 1 } }
    fileprivate func disconnect() { state.withLock { $0.connections -= 1 } }

    fileprivate func overrides(in namespace: String) -> [String: Limit]? {
        state.withLock { $0.unreachableSince == nil ? $0.overrides[namespace] ?? [:] : nil }
    }

    fileprivate var localFraction: LocalFraction? {
        state.withLock { state in
            state.unreachableSince.map {
                LocalFraction(millionths: Int64(1_000_000 / max(1, state.connections)), lostAt: $0)
            }
        }
    }

    fileprivate func lease(
        _ request: LeaseRequest, in namespace: String,
        reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        let now = clock.now()
        // Counted once the reply is scheduled, so that a test that has seen the count may advance the clock.
        defer { state.withLock { $0.requestCount += 1 } }
        let (latency, failure): (Duration, LeaseFailure?) = state.withLock { state in
            if state.unreachableSince != nil { return (.zero, .unreachable) }
            return (state.latency, state.failures.isEmpty ? nil : state.failures.removeFirst())
        }
        if let failure { return reply(.failure(failure), now) }
        guard latency > .zero else { return reply(apply(request, in: namespace, now: now), now) }
        let roundTrip = min(latency, .seconds(86_400))
        let halfway = now.advanced(by: roundTrip / 2)
        let arrival = now.advanced(by: roundTrip)
        let isLate = arrival > request.deadline
        if isLate { clock.schedule(at: request.deadline) { reply(.failure(.timedOut), request.deadline) } }
        clock.schedule(at: halfway) { [self] in
            let result = apply(request, in: namespace, now: halfway)
            if !isLate { clock.schedule(at: arrival) { reply(result, arrival) } }
        }
    }

    private func apply(_ request: LeaseRequest, in namespace: String, now: Instant) -> Result<Grant, LeaseFailure> {
        state.withLock { state in
            guard state.unreachableSince == nil else { return .failure(.unreachable) }
            let name = Self.name(request.key, namespace)
            var bucket = state.buckets[name] ?? StoreBucket(full: request.limit, nowMilliseconds: now.milliseconds)
            guard let grant = bucket.apply(request, nowMilliseconds: now.milliseconds) else {
                return .failure(.rejected("STALE a later request came first"))
            }
            state.buckets[name] = bucket
            return .success(grant)
        }
    }
}

extension SharedStore {
    /// A store in this process, for tests; the limiter must be given the store's clock.
    ///
    /// With another clock, creating the limiter throws `InvalidSetting`.
    public static func inMemory(_ store: InMemoryStore) -> SharedStore {
        SharedStore { environment in
            guard environment.clock as? ManualClock === store.clock else {
                throw InvalidSetting(
                    name: "clock", value: "not the store's", remedy: "create the limiter with clock: store.clock")
            }
            return InMemoryConnection(store, namespace: environment.namespace)
        }
    }
}

/// One limiter's connection to an ``InMemoryStore``.
private final class InMemoryConnection: LeaseStore {
    private let store: InMemoryStore
    private let namespace: String
    private let isStopped = Atomic(false)

    init(_ store: InMemoryStore, namespace: String) {
        self.store = store
        self.namespace = namespace
    }

    func start() async { store.connect() }

    func stop() async {
        isStopped.store(true, ordering: .relaxed)
        store.disconnect()
    }

    func isReachable(_ partition: PartitionID) -> Bool {
        !isStopped.load(ordering: .relaxed) && store.isReachable
    }
    func localFraction(of partition: PartitionID) -> LocalFraction? { store.localFraction }
    func overrides() async -> [String: Limit]? { store.overrides(in: namespace) }
    var nodeStates: [StoreNode] {
        let isReachable = store.isReachable
        return [
            StoreNode(
                name: "memory", isReachable: isReachable, failure: isReachable ? nil : "a test has made it unreachable")
        ]
    }

    func lease(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        guard !isStopped.load(ordering: .relaxed) else { return reply(.failure(.unreachable), store.clock.now()) }
        store.lease(request, in: namespace, reply: reply)
    }
}
