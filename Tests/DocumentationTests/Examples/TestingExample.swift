// The examples of the article TestYourService. They run as tests.
import Cistern
import CisternTestSupport
import Testing

@Test("a burst passes, the next request is denied, and tokens flow in with time")
func limiterAdmitsABurst() async throws {
    let clock = ManualClock()
    let limiter = try RateLimiter(limit: .perSecond(10, capacity: 100), clock: clock)
    for _ in 1...100 {
        #expect(try await limiter.acquire("acme").isAllowed)
    }
    let denied = try await limiter.acquire("acme")
    #expect(denied.outcome == .denied && denied.retryAfter == .milliseconds(100))
    clock.advance(by: .milliseconds(100))
    #expect(try await limiter.acquire("acme").isAllowed)
}

@Test("two servers share one bucket")
func limitersShareABucket() async throws {
    let store = InMemoryStore()
    let limit = try Limit.perSecond(1, capacity: 3)
    let first = try RateLimiter(limit: limit, store: .inMemory(store), clock: store.clock)
    let second = try RateLimiter(limit: limit, store: .inMemory(store), clock: store.clock)
    try await first.withRunning {
        try await second.withRunning {
            let two = try await first.acquire("acme", cost: 2)
            let one = try await second.acquire("acme")
            let more = try await first.acquire("acme")
            #expect([two, one, more].map(\.isAllowed) == [true, true, false])
        }
    }
}

/// Waits for a decision while the clock advances, about as fast as real time.
func waitForDecision(on key: String, by limiter: RateLimiter, advancing clock: ManualClock) async throws -> Decision {
    let ticking = Task {
        while !Task.isCancelled {
            clock.advance(by: .milliseconds(1))
            try? await Task.sleep(for: .milliseconds(1))
        }
    }
    defer { ticking.cancel() }
    return try await limiter.acquire(key)
}

@Test("a slow reply delays a decision, and the failure policy decides if it is too slow")
func storeIsSlow() async throws {
    let store = InMemoryStore()
    let limiter = try RateLimiter(
        limit: .perSecond(10, capacity: 100), store: .inMemory(store), clock: store.clock)
    try await limiter.withRunning {
        store.latency = .milliseconds(60)
        let slow = try await waitForDecision(on: "acme", by: limiter, advancing: store.clock)
        #expect(slow.outcome == .allowed)
        store.latency = .seconds(10)
        let late = try await waitForDecision(on: "other", by: limiter, advancing: store.clock)
        #expect(late.outcome == .unmetered)
        store.latency = .zero
    }
}

@Test("the failure policy decides during an outage", arguments: FailurePolicy.allCases)
func storeIsUnreachable(policy: FailurePolicy) async throws {
    let store = InMemoryStore()
    var settings = LimiterSettings()
    settings.failurePolicy = policy
    let limiter = try RateLimiter(
        limit: .perSecond(10, capacity: 100), store: .inMemory(store), settings: settings, clock: store.clock)
    try await limiter.withRunning {
        store.isReachable = false
        let first = try await limiter.acquire("acme").outcome
        store.clock.advance(by: .seconds(2))
        let later = try await limiter.acquire("acme").outcome
        switch policy {
        case .open: #expect(first == .unmetered && later == .unmetered)
        case .closed: #expect(first == .refused && later == .refused)
        case .local: #expect(first == .denied && later == .allowed)
        }
        store.isReachable = true
        #expect(try await limiter.acquire("acme").outcome == .allowed)
    }
}

@Test("a request that the store rejects is decided by the failure policy, and the next one is metered")
func storeRejectsARequest() async throws {
    let store = InMemoryStore()
    let limiter = try RateLimiter(limit: .standard, store: .inMemory(store), clock: store.clock)
    try await limiter.withRunning {
        store.failNextRequests(with: .rejected("ERR"))
        let unmetered = try await limiter.acquire("acme")
        let metered = try await limiter.acquire("acme")
        #expect([unmetered, metered].map(\.outcome) == [.unmetered, .allowed])
    }
}
