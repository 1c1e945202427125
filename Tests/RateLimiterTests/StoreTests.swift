import CisternProcesses
import CisternTestSupport
import Synchronization
import Testing

@testable import Cistern

@Suite("A limiter with a store", .timeLimit(.minutes(2)))
struct StoreTests {
    private let store = InMemoryStore()

    private func limiter(
        _ limit: Limit = .standard, namespace: String = StoreEnvironment.defaultNamespace,
        _ change: (inout LimiterSettings) -> Void = { _ in }
    ) throws -> RateLimiter {
        var settings = LimiterSettings()
        change(&settings)
        return try RateLimiter(
            limit: limit, store: .inMemory(store), namespace: namespace, settings: settings, clock: store.clock)
    }

    @Test(
        "a store that is never run is an error that says so, whatever the failure policy",
        arguments: FailurePolicy.allCases)
    func neverRun(policy: FailurePolicy) async throws {
        let limiter = try limiter { settings in
            settings.failurePolicy = policy
            settings.lease.timeout = .milliseconds(5)
        }
        #expect(try limiter.tryAcquire("acme") == nil)
        await #expect(throws: AcquireError.notRunning) { try await limiter.acquire("acme") }
        let (results, result) = AsyncStream.makeStream(of: Result<Decision, AcquireError>.self)
        #expect(try limiter.acquire("acme".utf8.span) { result.yield($0) } == nil)
        for await outcome in results {
            #expect(outcome == .failure(.notRunning))
            break
        }
        #expect("\(AcquireError.notRunning)".contains("call run()"))
        #expect(store.requestCount == 0 && limiter.statistics.decisions.total == 0)
    }

    /// A store whose first attempt to connect ends when a test says so.
    private final class SlowStore: LeaseStore {
        let isConnected = Atomic(false)
        let isTrying = Atomic(false)

        func start() async {
            isTrying.store(true, ordering: .relaxed)
            while !isConnected.load(ordering: .relaxed), !Task.isCancelled { await Task.yield() }
        }

        func isReachable(_ partition: PartitionID) -> Bool { isConnected.load(ordering: .relaxed) }

        func lease(
            _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
        ) {
            var bucket = StoreBucket(full: request.limit, nowMilliseconds: 0)
            let grant = bucket.apply(request, nowMilliseconds: 1)
            reply(grant.map { .success($0) } ?? .failure(.rejected("stale")), request.sentAt)
        }
    }

    @Test("requests that come before the store is connected wait for it", arguments: [true, false])
    func waitsForStart(connects: Bool) async throws {
        let slow = SlowStore()
        var settings = LimiterSettings()
        settings.lease.timeout = connects ? .seconds(1) : .milliseconds(20)
        let limiter = try RateLimiter(
            limit: .standard, store: SharedStore { _ in slow }, settings: settings, clock: store.clock)
        let running = Task { try await limiter.run() }
        try await eventually("the attempt") { slow.isTrying.load(ordering: .relaxed) }
        let early = Task { try await limiter.acquire("acme") }
        if connects {
            try await eventually("the request to wait") { limiter.lifecycle.waiterCount == 1 }
            slow.isConnected.store(true, ordering: .relaxed)
        }
        // A store that is still being tried after the timeout leaves the decision to the failure policy.
        #expect(try await early.value.outcome == (connects ? .allowed : .unmetered))
        running.cancel()
        try await running.value
    }

    @Test("a task that is canceled while its limiter starts ends, and so does the run")
    func canceledStart() async throws {
        let slow = SlowStore()
        let limiter = try RateLimiter(limit: .standard, store: SharedStore { _ in slow }, clock: store.clock)
        let task = Task { try await limiter.withRunning { Task.isCancelled } }
        try await eventually("the attempt") { slow.isTrying.load(ordering: .relaxed) }
        task.cancel()
        slow.isConnected.store(true, ordering: .relaxed)
        #expect(try await task.value)
        #expect(limiter.lifecycle.phase == .stopped)
    }

    @Test("a namespace and a key are never another namespace with another key")
    func namespacesAreApart() async throws {
        #expect(throws: InvalidSetting.self) { try limiter(namespace: "a:b") }
        let (short, long) = (try limiter(.perSecond(1, capacity: 1), namespace: "a"), try limiter(namespace: "a.b"))
        let remaining = try await short.withRunning {
            try await long.withRunning {
                _ = try await short.acquire("b:c")
                return try await long.acquire("c").remaining
            }
        }
        #expect(remaining == 99)
    }

    @Test("a sizing with impossible numbers takes and breaks nothing", arguments: [Int.min, -1, .max])
    func impossibleSizing(tokens: Int) async throws {
        struct Impossible: LeaseSizing {
            let tokens: Int
            func requested(for use: SizingInput, settings: LeaseSettings) -> RequestedLease {
                RequestedLease(
                    prefetchTokens: tokens, weight: Int64(tokens), trickleMilliseconds: Int64(tokens),
                    soloMultiplier: tokens)
            }
        }
        let limiter = try RateLimiter(
            limits: Limits(standard: .perSecond(1, capacity: 10)), store: .inMemory(store),
            sizing: Impossible(tokens: tokens),
            clock: store.clock)
        var outcomes: [Decision.Outcome] = []
        try await limiter.withRunning {
            for _ in 0..<12 { outcomes.append(try await limiter.acquire("acme").outcome) }
        }
        #expect(outcomes == Array(repeating: .allowed, count: 10) + [.denied, .denied])
    }

    @Test("at the end every lease is back in the store, and later requests are errors")
    func drains() async throws {
        let limiter = try limiter(.perSecond(1000, capacity: 10_000))
        try await limiter.withRunning {
            for _ in 0..<200 {
                let decision = try await limiter.acquire("acme")
                #expect(decision.outcome == .allowed)
                store.clock.advance(by: .milliseconds(1))
            }
            #expect(store.outstandingTokens(of: "acme") > 0)
            #expect(store.connectionCount == 1)
        }
        #expect(store.outstandingTokens(of: "acme") == 0)
        #expect(store.connectionCount == 0)
        #expect(limiter.statistics.leaseTokens.outstanding == 0)
        await #expect(throws: AcquireError.stopped) { try await limiter.acquire("acme") }
        await #expect(throws: RateLimiter.AlreadyRunError.self) { try await limiter.withRunning {} }
    }

    @Test("a lease whose request is in flight at the end goes back as well")
    func drainsInFlight() async throws {
        let limiter = try limiter(.perSecond(1000, capacity: 10_000)) { $0.lease.timeout = .seconds(1) }
        let ticking = Task { [clock = store.clock] in
            while !Task.isCancelled {
                clock.advance(by: .milliseconds(1))
                try? await Task.sleep(for: .milliseconds(1))
            }
        }
        defer { ticking.cancel() }
        try await limiter.withRunning {
            for _ in 0..<200 { _ = try await limiter.acquire("acme") }
            store.latency = .milliseconds(40)
            // The run ends while the store acts on this request.
            let before = store.requestCount
            _ = try limiter.acquire("other".utf8.span, cost: 100) { _ in }
            _ = try limiter.acquire("acme".utf8.span, cost: 5000) { _ in }
            #expect(store.requestCount > before)
        }
        #expect(limiter.statistics.leaseTokens.outstanding == 0)
    }

    @Test("an error of the body passes through, and the leases are returned")
    func bodyThrows() async throws {
        struct Failure: Error {}
        let limiter = try limiter()
        await #expect(throws: Failure.self) {
            try await limiter.withRunning {
                _ = try await limiter.acquire("acme")
                throw Failure()
            }
        }
        #expect(store.connectionCount == 0)
    }

    @Test("limiters share the buckets of a namespace, and no others")
    func namespaces() async throws {
        let limit = try Limit.perSecond(1, capacity: 3)
        let (first, second, other) = (try limiter(limit), try limiter(limit), try limiter(limit, namespace: "uploads"))
        try await first.withRunning {
            try await second.withRunning {
                try await other.withRunning {
                    let two = try await first.acquire("acme", cost: 2)
                    let one = try await second.acquire("acme")
                    let more = try await first.acquire("acme")
                    let elsewhere = try await other.acquire("acme", cost: 3)
                    #expect([two, one, more, elsewhere].map(\.isAllowed) == [true, true, false, true])
                }
            }
        }
    }

    @Test(
        "a store that is down is decided by the policy: open, closed, or the local fraction",
        arguments: FailurePolicy.allCases)
    func failurePolicies(policy: FailurePolicy) async throws {
        let limiter = try limiter(.perSecond(1, capacity: 3)) { settings in
            settings.failurePolicy = policy
            settings.lease.duration = .milliseconds(500)
        }
        try await limiter.withRunning {
            store.isReachable = false
            // The local fraction counts once leases from before the loss have ended.
            store.clock.advance(by: .seconds(2))
            let outcomes = try await [limiter.acquire("acme", cost: 3), limiter.acquire("acme", cost: 3)].map(\.outcome)
            switch policy {
            case .open: #expect(outcomes == [.unmetered, .unmetered])
            case .closed: #expect(outcomes == [.refused, .refused])
            // The local bucket of the only server has the refill of half a second or more.
            case .local: #expect(outcomes[1] == .denied && outcomes[0] != .refused)
            }
            #expect(limiter.nodeStates.map(\.isReachable) == [false])
            store.isReachable = true
            #expect(try await limiter.acquire("acme").outcome == .allowed)
        }
    }

    @Test("a failed request is decided by the policy")
    func failures() async throws {
        let limiter = try limiter { $0.failurePolicy = .closed }
        try await limiter.withRunning {
            store.failNextRequests(with: .timedOut, .rejected("ERR"))
            var outcomes: [Decision.Outcome] = []
            for _ in 0..<3 { outcomes.append(try await limiter.acquire("acme").outcome) }
            #expect(outcomes == [.refused, .refused, .allowed])
            #expect(limiter.statistics.storeCalls >= 3 && limiter.statistics.storeFailures == 2)
        }
    }

    /// Waits in `acquire` until the store has the request, then runs `body`, and returns the outcome.
    private func waiting(
        _ limiter: RateLimiter, cost: Int = 1, _ body: (Task<Decision, any Error>) -> Void
    ) async throws -> Result<Decision, any Error> {
        let before = store.requestCount
        let task = Task { try await limiter.acquire("acme", cost: cost) }
        try await eventually("the request") { store.requestCount > before }
        body(task)
        return await task.result
    }

    @Test("no request waits longer than the store timeout")
    func timeouts() async throws {
        let limiter = try limiter { $0.lease.timeout = .milliseconds(100) }
        try await limiter.withRunning {
            store.latency = .milliseconds(60)
            let decision = try await waiting(limiter) { _ in store.clock.advance(by: .milliseconds(60)) }.get()
            #expect(decision.outcome == .allowed)
            store.latency = .seconds(10)
            let late = try await waiting(limiter, cost: 90) { _ in store.clock.advance(by: .milliseconds(100)) }.get()
            #expect(late.outcome == .unmetered)
            store.latency = .zero
            store.clock.advance(by: .seconds(20))
        }
    }

    @Test("the wait of a canceled task ends, and only its own tokens may be lost")
    func cancellation() async throws {
        let limiter = try limiter(.perHour(18, capacity: 10))
        try await limiter.withRunning {
            store.latency = .milliseconds(20)
            let result = try await waiting(limiter) { $0.cancel() }
            #expect(throws: AcquireError.canceled) { try result.get() }
            store.clock.advance(by: .milliseconds(20))
            store.latency = .zero
            var admitted = 0
            while try await limiter.acquire("acme").isAllowed { admitted += 1 }
            #expect(9...10 ~= admitted)
            // A task that is canceled before it asks takes nothing.
            let canceled = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                return try await limiter.acquire("other")
            }
            await #expect(throws: AcquireError.canceled) { try await canceled.value }
            #expect(try await limiter.acquire("other").remaining == 9)
        }
    }

    @Test("overrides that operators set in the store apply to running limiters, and end")
    func overrides() async throws {
        store.setOverride(try .perSecond(1, capacity: 2), of: "acme")
        let limiter = try limiter()
        try await limiter.withRunning {
            #expect(try await limiter.acquire("acme").limit.capacity == 2)
            #expect(try await limiter.acquire("other").limit == .standard)
            store.setOverride(nil, of: "acme")
            try await eventually("the end of the override") {
                try await limiter.acquire("acme").limit == .standard
            }
            #expect(limiter.limits.overrideCount == 0)
        }
    }

    @Test("leases of idle keys are returned while the limiter runs")
    func sweeps() async throws {
        let limiter = try limiter(.perSecond(1000, capacity: 10_000)) { $0.lease.idle = .milliseconds(100) }
        try await limiter.withRunning {
            for _ in 0..<100 {
                _ = try await limiter.acquire("acme")
                store.clock.advance(by: .milliseconds(1))
            }
            #expect(store.outstandingTokens(of: "acme") > 0)
            store.clock.advance(by: .milliseconds(300))
            try await eventually("the return of idle tokens") { store.outstandingTokens(of: "acme") == 0 }
        }
    }

    @Test("a limiter with another clock than its store's cannot be created")
    func otherClock() {
        let error = #expect(throws: InvalidSetting.self) {
            try RateLimiter(limit: .standard, store: .inMemory(store), clock: ManualClock())
        }
        #expect(error?.name == "clock")
        #expect(throws: InvalidSetting.self) { try RateLimiter(limit: .standard, store: .inMemory(store)) }
    }

    @Test("no two limiters have one lessee ID, although they were made alike")
    func lesseeIDs() async throws {
        let seen = SeenLessees()
        for _ in 0..<3 {
            let limiter = try RateLimiter(limit: .standard, store: SharedStore { _ in seen }, clock: store.clock)
            try await limiter.withRunning { _ = try await limiter.acquire("acme") }
        }
        #expect(seen.names.withLock { $0 }.count == 3)
        #expect(seen.names.withLock { $0 }.allSatisfy { $0.utf8.count <= 60 })
    }

    /// A store outside the package's own: it needs only what is public.
    private final class SeenLessees: LeaseStore {
        let names = Mutex<Set<String>>([])

        func lease(
            _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
        ) {
            names.withLock { _ = $0.insert(request.lesseeID) }
            var bucket = StoreBucket(full: request.limit, nowMilliseconds: 0)
            let grant = bucket.apply(request, nowMilliseconds: 1)
            reply(grant.map { .success($0) } ?? .failure(.rejected("stale")), request.sentAt)
        }
    }
}
