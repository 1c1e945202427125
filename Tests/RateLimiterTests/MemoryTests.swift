import Cistern
import CisternTestSupport
import Testing

@Suite("A limiter without a store")
struct MemoryTests {
    private let clock = ManualClock()

    @Test("a burst passes, then requests are denied until tokens flow in; the decision says when")
    func burst() async throws {
        let limiter = try RateLimiter(limit: .perMinute(600, capacity: 100), clock: clock)
        for number in 1...100 {
            let decision = try await limiter.acquire("acme")
            #expect(decision.outcome == .allowed && decision.remaining == 100 - number)
            #expect(decision.retryAfter == nil)
            #expect(decision.resetAfter == .milliseconds(100 * number))
        }
        let denied = try await limiter.acquire("acme")
        #expect(!denied.isAllowed && denied.outcome == .denied && denied.remaining == 0)
        #expect(denied.retryAfter == .milliseconds(100))
        #expect(denied.resetAfter == .seconds(10))
        #expect(try await limiter.acquire("other").isAllowed)
        clock.advance(by: .milliseconds(100))
        #expect(try await limiter.acquire("acme").isAllowed)
        #expect(try await !limiter.acquire("acme").isAllowed)
        let statistics = limiter.statistics
        #expect(statistics.decisions[.allowed] == 102 && statistics.decisions[.denied] == 2)
    }

    @Test("strings, spans and completions name the same bucket, and no call waits")
    func calls() async throws {
        let limiter = try RateLimiter(limit: .perSecond(1, capacity: 4), clock: clock)
        #expect(try limiter.tryAcquire("acme")?.remaining == 3)
        #expect(try limiter.tryAcquire("acme".utf8.span)?.remaining == 2)
        #expect(try await limiter.acquire("acme".utf8.span).remaining == 1)
        let decision = try limiter.acquire("acme".utf8.span) { _ in Issue.record("it waited") }
        #expect(decision?.remaining == 0)
    }

    @Test("a cost above the capacity is denied, and never retried; a cost of 0 asks without taking")
    func costs() async throws {
        let limiter = try RateLimiter(limit: .perSecond(1, capacity: 10), clock: clock)
        let large = try await limiter.acquire("acme", cost: 11)
        #expect(large.outcome == .denied && large.retryAfter == nil)
        #expect(try await limiter.acquire("acme", cost: Limit.maximumCapacity).retryAfter == nil)
        #expect(try await limiter.acquire("acme", cost: 0).remaining == 10)
        #expect(try await limiter.acquire("acme", cost: 10).isAllowed)
        #expect(try await limiter.acquire("acme", cost: 10).retryAfter == .seconds(10))
    }

    @Test(
        "a cost that is negative or too large is an error that names it",
        arguments: [-1, .min, Limit.maximumCapacity + 1, .max])
    func invalidCosts(cost: Int) async throws {
        let limiter = try RateLimiter(limit: .perSecond(1, capacity: 10), clock: clock)
        await #expect(throws: AcquireError.invalidCost(cost)) { try await limiter.acquire("acme", cost: cost) }
        #expect(throws: AcquireError.invalidCost(cost)) { try limiter.tryAcquire("acme", cost: cost) }
        #expect(throws: AcquireError.invalidCost(cost)) {
            try limiter.acquire("acme".utf8.span, cost: cost) { _ in Issue.record("it waited") }
        }
        #expect("\(AcquireError.invalidCost(cost))" == "cost is \(cost): use 0 to 1000000000 tokens")
        #expect(try await limiter.acquire("acme", cost: 0).remaining == 10)
    }

    @Test("the engine denies such a cost, and does not trap", arguments: [-1, .min, Limit.maximumCapacity + 1, .max])
    func engineCosts(cost: Int) async throws {
        let limits = Limits(standard: try .perSecond(1, capacity: 10))
        let now = Instant(milliseconds: 1)
        for engine in [
            RateLimiterEngine(limits: limits, seed: 1),
            RateLimiterEngine(
                limits: limits, store: UnusedStore(), lesseeID: "test", seed: 1),
        ] {
            #expect(engine.decideNow("acme".utf8.span, cost: cost, now: now)?.outcome == .denied)
            #expect(engine.allowNow("acme".utf8.span, cost: cost, now: now) == false)
            let decision = await engine.decide("acme", cost: cost, now: now)
            #expect(decision.outcome == .denied && decision.retryAfter == nil)
            let direct = engine.decide("acme".utf8.span, cost: cost, now: now) { _ in Issue.record("it waited") }
            #expect(direct?.outcome == .denied)
        }
    }

    /// A store that no request reaches.
    private struct UnusedStore: LeaseStore {
        func lease(
            _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
        ) {
            Issue.record("the store was asked")
            reply(.failure(.unreachable), Instant(milliseconds: 1))
        }
    }

    @Test("an empty key, and one of 1 MiB, are errors; 1024 bytes of any value are a key")
    func keys() async throws {
        let limiter = try RateLimiter(limit: .perSecond(1, capacity: 2), clock: clock)
        let long = String(repeating: "k", count: 1 << 20)
        await #expect(throws: AcquireError.emptyKey) { try await limiter.acquire("") }
        await #expect(throws: AcquireError.keyTooLong(bytes: 1 << 20)) { try await limiter.acquire(long) }
        #expect(throws: AcquireError.keyTooLong(bytes: 1025)) { try limiter.tryAcquire(String(long.prefix(1025))) }
        #expect("\(AcquireError.keyTooLong(bytes: 1025))".contains("use at most 1024"))
        let longest = [UInt8](repeating: 0xff, count: 1024)
        #expect(try limiter.tryAcquire(longest.span)?.remaining == 1)
        #expect(try limiter.tryAcquire([0, 0xc3, 0x28].span)?.remaining == 1)
    }

    @Test("no run is necessary; a run ends when its task is canceled, and happens once")
    func runs() async throws {
        let limiter = try RateLimiter(limit: .perSecond(1, capacity: 2), clock: clock)
        #expect(try await limiter.acquire("acme").isAllowed)
        let running = Task { try await limiter.run() }
        running.cancel()
        try await running.value
        #expect(try await limiter.acquire("acme").isAllowed)
        await #expect(throws: RateLimiter.AlreadyRunError.self) { try await limiter.run() }
    }

    @Test("other limits apply to keys in memory at once")
    func changes() async throws {
        let limiter = try RateLimiter(limit: .perSecond(1, capacity: 10), clock: clock)
        #expect(try await limiter.acquire("acme").remaining == 9)
        let lower = try Limit.perSecond(1, capacity: 5)
        limiter.changeLimits { _ in Limits(standard: lower) }
        #expect(limiter.limits.standard == lower)
        #expect(try await limiter.acquire("acme").remaining == 4)
        let own = try RateLimiter(limits: Limits(standard: lower, byKey: ["big": .standard]), clock: clock)
        #expect(try await own.acquire("big").remaining == 99)
    }
}
