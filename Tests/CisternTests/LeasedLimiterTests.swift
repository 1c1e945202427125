import CisternTestSupport
import CisternTesting
import Testing

@testable import Cistern

@Suite("A limiter with a shared store")
struct LeasedLimiterTests {
    private let clock = ManualClock(milliseconds: 10_000)
    private let store = ScriptedStore()
    private let log = DecisionLog()

    private func limiter(_ change: (inout LimiterSettings) -> Void = { _ in }) -> RateLimiterEngine {
        var settings = LimiterSettings()
        change(&settings)
        return RateLimiterEngine(limits: Limits(), store: store, lesseeID: "server-1", settings: settings, seed: 1)
    }

    private func ask(_ limiter: RateLimiterEngine, _ key: String = "org-1", cost: Int = 1) {
        let log = log
        let decision = limiter.decide(key.utf8.span, cost: cost, now: clock.now()) { log.add($0) }
        if let decision { log.add(decision) }
    }

    /// Makes the store grant `tokens` beyond the one that the request needs.
    private func leaseWithPrefetch(_ limiter: RateLimiterEngine, _ tokens: Int, _ key: String = "org-1") {
        ask(limiter, key)
        store.answer(grant(tokens + 1, balance: 50), now: clock.now())
    }

    private func grant(_ tokens: Int, held: Int = 0, balance: Double = 0) -> Result<Grant, LeaseFailure> {
        .success(.plain(tokens, held: held, openUnits: Int64(balance * 1_000_000)))
    }

    @Test("all waiting requests share one store request and are decided in order")
    func sharesOneRequest() {
        let limiter = limiter()
        ask(limiter)
        #expect(store.next?.missingTokens == 1)
        for _ in 0..<4 { ask(limiter) }
        #expect(store.requestCount == 1)
        #expect(log.outcomes.isEmpty)
        store.answer(grant(1, balance: 2), now: clock.now())
        #expect(log.outcomes == [.allowed])
        #expect(store.requestCount == 2)
        #expect(store.next?.missingTokens == 4)
        #expect(store.next?.sequence == 2)
        store.answer(grant(2, balance: 0.5), now: clock.now())
        #expect(log.outcomes == [.allowed, .allowed, .allowed, .denied, .denied])
        // 50 ms, plus an allowance for rounding and for the drift of two clocks.
        #expect(log.all.last?.retryAfterMilliseconds == 54)
        #expect(store.next == nil)
    }

    @Test("a store request lists the costs of the waiting requests in order")
    func listsCosts() {
        let limiter = limiter()
        ask(limiter)
        for cost in [5, 5, 1, 5] { ask(limiter, cost: cost) }
        store.answer(grant(1, balance: 50), now: clock.now())
        #expect(store.next?.waiting.map { [$0.cost, $0.count] } == [[5, 2], [1, 1], [5, 1]])
        #expect(store.next?.missingTokens == 16)
        store.answer(grant(11, balance: 4), now: clock.now())
        #expect(log.outcomes == [.allowed, .allowed, .allowed, .allowed, .denied])
    }

    @Test("waiting requests beyond one store request go into the next, and none is denied")
    func splitsLongQueues() {
        let limiter = limiter()
        ask(limiter)
        for number in 0..<100 { ask(limiter, cost: 1 + number % 2) }
        store.answer(grant(1, balance: 50), now: clock.now())
        #expect(store.next?.waiting.count == 64)
        #expect(store.next?.missingTokens == 96)
        store.answer(grant(96, balance: 80), now: clock.now())
        #expect(log.outcomes == Array(repeating: .allowed, count: 65))
        #expect(store.next?.waiting.count == 36)
        store.answer(grant(54, balance: 26), now: clock.now())
        #expect(log.outcomes == Array(repeating: .allowed, count: 101))
        #expect(store.next == nil)
    }

    @Test("held tokens are reserved for waiting requests, so later requests cannot take them")
    func reservesForThoseThatWait() {
        let limiter = limiter()
        leaseWithPrefetch(limiter, 3)
        ask(limiter, cost: 5)
        #expect(store.next?.held == 3)
        #expect(store.next?.missingTokens == 2)
        for _ in 0..<3 { ask(limiter) }
        store.answer(grant(2, held: 3, balance: 48), now: clock.now())
        #expect(log.outcomes == [.allowed, .allowed])
        #expect(store.next?.missingTokens == 3)
    }

    @Test("a grant that expired in transit or has impossible numbers is not used")
    func refusesUselessGrants() {
        let limiter = limiter()
        ask(limiter)
        clock.advance(milliseconds: 1960)
        store.answer(grant(1, balance: 50), now: clock.now())
        for wrong in [grant(-1), grant(101), grant(1, held: 1), grant(1, held: .min)] {
            ask(limiter)
            store.answer(wrong, now: clock.now())
        }
        let twisted: [(inout Grant) -> Void] = [
            { $0.openUnits = .min }, { $0.openUnits = .max }, { $0.trickleTokens = .max },
            { $0.trickleTokens = 5 },
            { $0.trickleMilliseconds = .max }, { $0.openRefillUnitsPerMillisecond = .max },
            { $0.openRefillUnitsPerMillisecond = -1 }, { $0.outstanding = .min }, { $0.outstanding = .max },
        ]
        for twist in twisted {
            var wrong = Grant.plain(0)
            twist(&wrong)
            ask(limiter)
            store.answer(.success(wrong), now: clock.now())
        }
        #expect(log.outcomes == Array(repeating: .unmetered, count: 14))
        #expect(limiter.statistics.leaseTokens.granted == 0)
    }

    @Test("a limiter denies from memory until the store may be able to pay, and then asks again")
    func remembersADenial() {
        let limiter = limiter()
        ask(limiter)
        store.answer(grant(0, balance: 0.9), now: clock.now())
        #expect(log.outcomes == [.denied])
        clock.advance(milliseconds: 9)
        ask(limiter)
        #expect(log.outcomes == [.denied, .denied])
        #expect(store.requestCount == 1)
        clock.advance(milliseconds: 1)
        ask(limiter)
        #expect(store.requestCount == 2)
    }

    @Test("a reply that arrives twice or after the next request is ignored")
    func ignoresLateAnswers() {
        let limiter = limiter { $0.failurePolicy = .closed }
        ask(limiter)
        let again = store.answer(.failure(.timedOut), now: clock.now())
        #expect(log.outcomes == [.refused])
        ask(limiter)
        again()
        #expect(log.outcomes == [.refused])
        let twice = store.answer(grant(1, balance: 5), now: clock.now())
        twice()
        #expect(log.outcomes == [.refused, .allowed])
        #expect(limiter.statistics.leaseTokens.granted == 1)
    }

    @Test("requests pass unmetered while the store is unreachable, and the store is asked again once it is back")
    func failsOpen() {
        let limiter = limiter()
        store.setReachable(false)
        ask(limiter)
        #expect(log.outcomes == [.unmetered])
        #expect(log.all[0].remaining == 100)
        #expect(store.requestCount == 0)
        store.setReachable(true)
        ask(limiter)
        #expect(store.requestCount == 1)
        store.answer(.failure(.unreachable), now: clock.now())
        #expect(log.outcomes == [.unmetered, .unmetered])
        #expect(limiter.statistics.decisions.unmetered == 2)
    }

    @Test("the failure policy applies while the store is unreachable, even after a recent denial")
    func policyBeforeMemory() {
        let limiter = limiter()
        ask(limiter)
        store.answer(grant(0, balance: 0), now: clock.now())
        ask(limiter)
        store.setReachable(false)
        ask(limiter)
        #expect(log.outcomes == [.denied, .denied, .unmetered])
    }

    @Test("a lease keeps paying while the store is unreachable")
    func spendsWhileCutOff() {
        let limiter = limiter()
        leaseWithPrefetch(limiter, 2)
        store.setReachable(false)
        let before = log.outcomes.count
        for _ in 0..<3 { ask(limiter) }
        #expect(log.outcomes.dropFirst(before) == [.allowed, .allowed, .unmetered])
    }

    @Test("requests beyond the limit of waiting requests per key are refused")
    func boundsTheQueue() {
        let limiter = limiter { $0.maximumWaitersPerKey = 2 }
        for _ in 0..<3 { ask(limiter) }
        #expect(log.outcomes == [.refused])
        ask(limiter, "org-2")
        #expect(store.requestCount == 2)
    }

    @Test("a full queue of the highest costs adds up without overflow")
    func survivesTheHighestCosts() throws {
        let limit = try Limit(capacity: Limit.maximumCapacity, refillPerSecond: 1000)
        let limiter = RateLimiterEngine(limits: Limits(standard: limit), store: store, lesseeID: "server-1", seed: 1)
        for _ in 0..<10_000 { ask(limiter, cost: Limit.maximumCapacity) }
        store.answer(grant(0, balance: 0), now: clock.now())
        clock.advance(milliseconds: 1960)
        #expect(log.outcomes.allSatisfy { $0 == .denied } && log.outcomes.count == 10_000)
        for _ in 0..<10_000 { ask(limiter, cost: Limit.maximumCapacity) }
        store.answer(grant(0, balance: 1_000_000_000), now: clock.now())
        #expect(log.outcomes.count == 10_001)
        #expect(store.next?.missingTokens == 9999 * Limit.maximumCapacity)
    }

    @Test("no request waits longer than the timeout, even for a second store request")
    func keepsTheDeadline() {
        let limiter = limiter()
        let start = clock.now()
        ask(limiter)
        clock.advance(milliseconds: 30)
        ask(limiter)
        clock.advance(milliseconds: 30)
        store.answer(grant(1, balance: 5), now: clock.now())
        #expect(store.next?.sentAt == start.advanced(byMilliseconds: 60))
        #expect(store.next?.deadline == start.advanced(byMilliseconds: 130))
    }

    @Test("a limiter returns its leases with one store request per key")
    func givesBack() async {
        let limiter = limiter()
        for key in ["a", "b"] {
            leaseWithPrefetch(limiter, 3, key)
        }
        ask(limiter, "c")
        store.answer(grant(1, balance: 5), now: clock.now())
        let (store, clock) = (store, clock)
        async let done: Void = limiter.returnLeases(clock: clock)
        var returned: [Int] = []
        while returned.count < 2 {
            guard let request = store.next else { await Task.yield(); continue }
            returned.append(request.returned)
            store.answer(grant(0), now: clock.now())
        }
        await done
        #expect(returned == [3, 3])
        #expect(limiter.statistics.leaseTokens.outstanding == 0)
    }

    @Test("a lease is renewed once before it runs dry, and no request waits for the renewal")
    func renews() throws {
        let limit = try Limit(capacity: 10_000, refillPerSecond: 10_000)
        let limiter = RateLimiterEngine(limits: Limits(standard: limit), store: store, lesseeID: "server-1", seed: 1)
        // 1000 tokens per second, until the limiter has measured this demand.
        for _ in 0..<10 {
            clock.advance(milliseconds: 100)
            ask(limiter, cost: 100)
            guard let request = store.next else { continue }
            let tokens = request.missingTokens + request.requested.prefetchTokens
            store.answer(
                .success(.plain(tokens, held: request.held, openUnits: 5_000_000_000, limit: limit)),
                now: clock.now())
        }
        let before = store.requestCount
        var asked = 0
        while store.next == nil, asked < 1000 {
            ask(limiter)
            asked += 1
        }
        #expect(store.requestCount == before + 1)
        let renewal = try #require(store.next)
        #expect(renewal.waiting.isEmpty && renewal.held > 0 && renewal.requested.prefetchTokens > 100)
        for _ in 0..<renewal.held { ask(limiter) }
        #expect(log.outcomes.allSatisfy { $0 == .allowed })
        #expect(store.requestCount == before + 1)
    }

    @Test("the tokens of an idle key are returned, and those of a busy key are kept")
    func givesBackWhatIsIdle() throws {
        let limiter = limiter()
        leaseWithPrefetch(limiter, 3, "silent")
        leaseWithPrefetch(limiter, 3, "busy")
        clock.advance(milliseconds: 200)
        ask(limiter, "busy")
        limiter.returnIdleLeases(now: clock.now())
        #expect(store.next == nil)
        clock.advance(milliseconds: 50)
        limiter.returnIdleLeases(now: clock.now())
        let request = try #require(store.next)
        #expect(request.key == Array("silent".utf8))
        #expect(
            request.returned == 3 && request.held == 0 && request.waiting.isEmpty
                && request.requested == RequestedLease.none)
        store.answer(grant(0, balance: 50), now: clock.now())
        limiter.returnIdleLeases(now: clock.now())
        #expect(store.next == nil)
        clock.advance(milliseconds: 200)
        limiter.returnIdleLeases(now: clock.now())
        #expect(store.next?.returned == 2)
        #expect(limiter.statistics.leaseTokens.returned == 5)
    }

    @Test("a negligible idle lease is kept until shutdown, and a larger one is returned at once")
    func keepsNegligibleLeases() async throws {
        // Negligible is a millionth of the refill during one lease: 10 tokens.
        let limit = try Limit(capacity: 100_000_000, refillPerSecond: 5_000_000)
        let limiter = RateLimiterEngine(limits: Limits(standard: limit), store: store, lesseeID: "server-1", seed: 1)
        func lease(_ tokens: Int, _ key: String) {
            ask(limiter, key)
            store.answer(.success(.plain(tokens + 1, limit: limit)), now: clock.now())
        }
        lease(10, "unmissed")
        lease(11, "missed")
        clock.advance(milliseconds: 250)
        limiter.returnIdleLeases(now: clock.now())
        let request = try #require(store.next)
        #expect(request.key == Array("missed".utf8) && request.returned == 11)
        store.answer(.success(.plain(0, limit: limit)), now: clock.now())
        #expect(store.next == nil)
        async let stopped: Void = limiter.returnLeases(clock: clock)
        while store.next == nil { await Task.yield() }
        #expect(store.next?.key == Array("unmissed".utf8) && store.next?.returned == 10)
        store.answer(.success(.plain(0, limit: limit)), now: clock.now())
        await stopped
    }

    @Test("each table entry has one idle check, however often its key changes")
    func idleChecksAreBounded() {
        var settings = LimiterSettings()
        settings.maximumBuckets = 1
        let driver = LeaseDriver(
            limits: Limits(), store: store, lesseeID: "server-1", settings: settings, sizing: DemandSizing(),
            hash: KeyHash(seed: 1))
        for number in 0..<100 {
            let key = Array("org-\(number)".utf8)
            let hash = KeyHash(seed: 1)(key.span)
            let decision = driver.decide(key.span, hash: hash, cost: 1, now: clock.now()) { _ in }
            #expect(decision == nil)
            store.answer(grant(3, balance: 50), now: clock.now())
        }
        #expect(driver.idleCheckCount == 1)
    }

    @Test("a key that returns after eviction reports a lower bound of its idle time")
    func quietSurvivesEviction() {
        let limiter = limiter { $0.maximumBuckets = 1 }
        leaseWithPrefetch(limiter, 0, "a")
        clock.advance(milliseconds: 1000)
        ask(limiter, "b")
        store.answer(grant(0), now: clock.now())
        clock.advance(milliseconds: 1000)
        ask(limiter, "a")
        #expect(store.next?.millisecondsSinceLastSpend == 1959)
    }

    @Test("eviction takes an idle key first, then one with a lease, and never one with waiting requests")
    func evicts() {
        let limiter = limiter { $0.maximumBuckets = 2 }
        ask(limiter, "waiting")
        ask(limiter, "holding")
        #expect(store.next?.key == Array("waiting".utf8))
        ask(limiter, "newcomer")
        #expect(log.outcomes == [.refused])
        // The answer goes to "waiting", which then holds two tokens.
        store.answer(grant(3, balance: 5), now: clock.now())
        ask(limiter, "newcomer")
        #expect(store.requestCount == 3)
        let statistics = limiter.statistics
        #expect(statistics.evictions == 1)
        #expect(statistics.leaseTokens.expired == 2)
        #expect(statistics.leaseTokens.outstanding == 0)
    }

    @Test("the sequence numbers of a key continue after its eviction")
    func sequencesSurviveEviction() throws {
        let limiter = limiter { $0.maximumBuckets = 1 }
        var last: UInt64 = 0
        for key in ["a", "b", "a", "b"] {
            ask(limiter, key)
            let sequence = try #require(store.next?.sequence)
            #expect(sequence > last)
            last = sequence
            store.answer(grant(1, balance: 5), now: clock.now())
        }
    }

    @Test("the async API waits for the store's reply")
    func asyncAPI() async {
        let limiter = limiter()
        let (store, clock) = (store, clock)
        async let decision = limiter.decide("org-1", now: clock.now())
        while store.next == nil { await Task.yield() }
        store.answer(grant(1, balance: 41), now: clock.now())
        #expect(await decision.outcome == .allowed)
        #expect(await decision.remaining == 41)
    }
}
