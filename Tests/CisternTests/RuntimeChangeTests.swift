import CisternTestSupport
import CisternTesting
import Testing

@testable import Cistern

@Suite("Changes of limits and settings at run time")
struct RuntimeChangeTests {
    private let clock = ManualClock(milliseconds: 10_000)
    private let store = ScriptedStore()
    private let log = DecisionLog()

    private func leased(_ limits: Limits = Limits()) -> RateLimiterEngine {
        RateLimiterEngine(limits: limits, store: store, lesseeID: "server-1", seed: 1)
    }

    private func changeDuration(of limiter: RateLimiterEngine, toMilliseconds milliseconds: Int64) {
        var settings = LeaseSettings()
        settings.durationMilliseconds = milliseconds
        limiter.changeLeaseSettings(to: settings)
    }

    private func ask(_ limiter: RateLimiterEngine, _ key: String = "org-1", cost: Int = 1) {
        let log = log
        let decision = limiter.decide(key.utf8.span, cost: cost, now: clock.now()) { log.add($0) }
        if let decision { log.add(decision) }
    }

    private func allowed(_ limiter: RateLimiterEngine, of count: Int, by key: String = "org-1") async -> Int {
        var allowed = 0
        for _ in 0..<count where await limiter.decide(key, now: clock.now()).isAllowed { allowed += 1 }
        return allowed
    }

    private func limit(_ capacity: Int, _ refill: Double, isShadow: Bool = false) throws -> Limit {
        try Limit(capacity: capacity, refillPerSecond: refill, isShadow: isShadow)
    }

    // MARK: Limits

    @Test("a lowered limit cuts existing buckets at once, and only those of its key")
    func lowered() async throws {
        let limiter = RateLimiterEngine(limits: Limits(), seed: 1)
        #expect(await allowed(limiter, of: 10) == 10)
        #expect(await allowed(limiter, of: 10, by: "org-2") == 10)
        let low = try limit(5, 1)
        limiter.changeLimits(now: clock.now()) { $0.overridden(by: ["org-1": low]) }
        #expect(await allowed(limiter, of: 100) == 5)
        #expect(await allowed(limiter, of: 100, by: "org-2") == 90)
        clock.advance(milliseconds: 2000)
        #expect(await allowed(limiter, of: 100) == 2)
    }

    @Test("a raised limit refills at the new rate from now on; earlier refill counts at the old rate")
    func raised() async throws {
        let limiter = RateLimiterEngine(limits: Limits(), seed: 1)
        #expect(await allowed(limiter, of: 101) == 100)
        clock.advance(milliseconds: 1000)
        let high = try limit(1000, 500)
        limiter.changeLimits(now: clock.now()) { _ in Limits(standard: high) }
        #expect(await allowed(limiter, of: 100) == 10)
        clock.advance(milliseconds: 1000)
        #expect(await allowed(limiter, of: 1000) == 500)
    }

    @Test("a new default applies to every key in memory, except keys with their own limit")
    func newDefaultAppliesToAllKeys() async throws {
        let own = try limit(3, 1)
        let limiter = RateLimiterEngine(limits: Limits(byKey: ["own": own]), seed: 1)
        for index in 0..<5000 { _ = await limiter.decide("org-\(index)", now: clock.now()) }
        let low = try limit(2, 1)
        limiter.changeLimits(now: clock.now()) { $0.replaced(by: Limits(standard: low, byKey: ["own": own])) }
        for index in stride(from: 0, to: 5000, by: 97) {
            #expect(await allowed(limiter, of: 5, by: "org-\(index)") == 2)
        }
        #expect(await allowed(limiter, of: 5, by: "own") == 3)
    }

    @Test("an override takes precedence over the file, and stays when a new file is loaded")
    func layers() throws {
        let (file, over) = (try limit(50, 5), try limit(7, 1))
        var limits = Limits(byKey: ["org-1": file, "org-2": file]).overridden(by: ["org-1": over])
        #expect(limits.limit(of: "org-1".utf8.span) == over)
        #expect(limits.source(of: Array("org-1".utf8)) == .override)
        limits = limits.replaced(by: Limits(standard: file))
        #expect(limits.limit(of: "org-1".utf8.span) == over)
        #expect(limits.limit(of: "org-2".utf8.span) == file)
        #expect(limits.source(of: Array("org-2".utf8)) == .standard)
        #expect((limits.keyCount, limits.overrideCount) == (0, 1))
    }

    @Test("tokens leased under a higher limit are dropped, and the next store request carries the new limit")
    func leasedIsDropped() throws {
        let limiter = leased()
        ask(limiter)
        store.answer(.success(.plain(41, openUnits: 0)), now: clock.now())
        #expect(limiter.outstandingTokens("org-1".utf8.span) == 40)
        let low = try limit(5, 1)
        limiter.changeLimits(now: clock.now()) { _ in Limits(standard: low) }
        #expect(limiter.outstandingTokens("org-1".utf8.span) == 0)
        #expect(limiter.statistics.leaseTokens.expired == 40)
        ask(limiter)
        #expect(store.next?.limit == low && store.next?.missingTokens == 1 && store.next?.held == 0)
    }

    @Test("tokens leased under a lower limit stay usable")
    func leasedStays() throws {
        let limiter = leased()
        ask(limiter)
        store.answer(.success(.plain(41, openUnits: 0)), now: clock.now())
        let high = try limit(1000, 500)
        limiter.changeLimits(now: clock.now()) { _ in Limits(standard: high) }
        #expect(limiter.outstandingTokens("org-1".utf8.span) == 40)
        ask(limiter)
        #expect(log.all.last?.limit == high && log.outcomes == [.allowed, .allowed])
        #expect(store.next == nil)
    }

    @Test("a change of limit ends denials from memory under the old limit")
    func leasedForgetsDenials() throws {
        let limiter = leased()
        ask(limiter)
        store.answer(.success(.plain(0, openUnits: 0)), now: clock.now())
        ask(limiter)
        #expect(log.outcomes == [.denied, .denied])
        let high = try limit(1000, 500)
        limiter.changeLimits(now: clock.now()) { $0.overridden(by: ["org-1": high]) }
        ask(limiter)
        #expect(store.next?.limit == high)
    }

    @Test("when a limit is lowered during a store request, waiting requests are paid and the rest is dropped")
    func whileAsking() throws {
        let limiter = leased()
        ask(limiter)
        let low = try limit(5, 1)
        limiter.changeLimits(now: clock.now()) { _ in Limits(standard: low) }
        store.answer(.success(.plain(41, openUnits: 0)), now: clock.now())
        #expect(log.outcomes == [.allowed])
        #expect(limiter.outstandingTokens("org-1".utf8.span) == 0)
        ask(limiter)
        #expect(store.next?.limit == low && store.next?.held == 0)
    }

    // MARK: Shadow

    @Test("a shadow limit counts what it would deny, and denies nothing")
    func shadow() async throws {
        let shadow = try limit(3, 1, isShadow: true)
        let limiter = RateLimiterEngine(limits: Limits(standard: shadow), seed: 1)
        var decisions: [Decision] = []
        for _ in 0..<5 { decisions.append(await limiter.decide("org-1", now: clock.now())) }
        #expect(decisions.allSatisfy { $0.outcome == .allowed && $0.retryAfterMilliseconds == 0 })
        #expect(decisions.map(\.isShadowDenial) == [false, false, false, true, true])
        #expect(decisions.map(\.remaining) == [2, 1, 0, 0, 0])
        #expect(limiter.statistics.decisions.allowed == 5)
        #expect(limiter.statistics.decisions.shadowDenied == 2)
        #expect(limiter.statistics.decisions.denied == 0)
    }

    @Test("a shadow limit denies nothing with a shared store, and requests that it would refuse pass unmetered")
    func leasedShadow() throws {
        let shadow = try limit(3, 10, isShadow: true)
        var settings = LimiterSettings()
        settings.maximumWaitersPerKey = 1
        settings.failurePolicy = .closed
        let limiter = RateLimiterEngine(
            limits: Limits(standard: shadow), store: store, lesseeID: "server-1", settings: settings, seed: 1)
        ask(limiter)
        ask(limiter)
        #expect(log.outcomes == [.unmetered])
        store.answer(.success(.plain(0, openUnits: 0)), now: clock.now())
        #expect(log.outcomes == [.unmetered, .allowed])
        #expect(log.all.last?.isShadowDenial == true)
        ask(limiter)
        #expect(log.all.last?.isShadowDenial == true)
        store.setReachable(false)
        ask(limiter)
        #expect(log.outcomes.last == .unmetered)
        #expect(limiter.statistics.decisions.shadowDenied == 2)
        #expect(limiter.statistics.decisions.refused == 0)
    }

    // MARK: Leases

    @Test("new lease settings apply from the next store request")
    func leaseSettings() {
        let limiter = leased()
        var settings = LeaseSettings()
        settings.durationMilliseconds = 5000
        limiter.changeLeaseSettings(to: settings)
        #expect(limiter.leaseSettings == settings)
        ask(limiter)
        #expect(store.next?.durationMilliseconds == 5000)
    }

    @Test("a lease lasts for the duration it was requested with, even if the setting changes before the reply")
    func lapsesAsAsked() {
        let limiter = leased()
        ask(limiter)
        changeDuration(of: limiter, toMilliseconds: 60_000)
        store.answer(.success(.plain(41, openUnits: 0)), now: clock.now())
        clock.advance(milliseconds: 1959)
        #expect(limiter.outstandingTokens("org-1".utf8.span, now: clock.now()) == 40)
        clock.advance(milliseconds: 1)
        #expect(limiter.outstandingTokens("org-1".utf8.span, now: clock.now()) == 0)
    }

    @Test("a reply that arrives after the requested duration grants nothing, even if the setting is longer now")
    func lateAnswer() {
        let limiter = leased()
        ask(limiter)
        changeDuration(of: limiter, toMilliseconds: 60_000)
        clock.advance(milliseconds: 1960)
        store.answer(.success(.plain(41, openUnits: 0)), now: clock.now())
        #expect(limiter.outstandingTokens("org-1".utf8.span, now: clock.now()) == 0)
    }

    @Test("local metering starts after the longest leases under earlier settings have ended")
    func longestCounts() throws {
        var settings = LimiterSettings()
        settings.failurePolicy = .local
        settings.lease.horizonMilliseconds = 10_000
        settings.lease.durationMilliseconds = 60_000
        let limiter = RateLimiterEngine(
            limits: Limits(), store: store, lesseeID: "server-1", settings: settings, seed: 1)
        settings.lease.horizonMilliseconds = 250
        settings.lease.durationMilliseconds = 2000
        limiter.changeLeaseSettings(to: settings.lease)
        store.setReachable(false)
        store.setLocalFraction(LocalFraction(millionths: 1_000_000, lostAt: clock.now()))
        // Trickle grants under the earlier settings may run for 20 s.
        clock.advance(milliseconds: 15_000)
        ask(limiter)
        #expect(log.outcomes == [.denied])
        clock.advance(milliseconds: 10_000)
        ask(limiter)
        #expect(log.outcomes == [.denied, .allowed])
    }

    // MARK: Filling

    @Test("a filled bucket pays at once; with a shared store, the next request asks the store")
    func filled() async {
        let embedded = RateLimiterEngine(limits: Limits(), seed: 1)
        #expect(await allowed(embedded, of: 101) == 100)
        embedded.fillBucket(of: "org-1".utf8.span, now: clock.now())
        #expect(await allowed(embedded, of: 101) == 100)
        let limiter = leased()
        ask(limiter)
        store.answer(.success(.plain(0, openUnits: 0)), now: clock.now())
        ask(limiter)
        #expect(store.next == nil)
        limiter.fillBucket(of: "org-1".utf8.span, now: clock.now())
        ask(limiter)
        #expect(store.next?.missingTokens == 1)
    }

    @Test("filling a bucket leaves outstanding leases debited, spent or not")
    func filledBesideLeases() throws {
        let limit = Limit.standard
        var bucket = StoreBucket(full: limit, nowMilliseconds: 0)
        var admitted = 0
        func request(_ lesseeID: String, _ sequence: UInt64, quiet: Int64, at now: Int64) -> LeaseRequest {
            LeaseRequest(
                key: Array("org".utf8), limit: limit, lesseeID: lesseeID, sequence: sequence,
                acknowledged: sequence - 1, held: 0, millisecondsSinceLastSpend: quiet, halfSpentTokens: 0,
                halfSpentMilliseconds: 0,
                returned: 0, waiting: [WaitingRun(cost: 50, count: 1)], requested: .none, durationMilliseconds: 2000,
                sentAt: Instant(nanoseconds: now * 1_000_000), deadline: Instant(nanoseconds: now * 2_000_000))
        }
        // Lessee a leases half and spends it after the fill; lessee b takes the rest.
        for (lesseeID, sequence, quiet, now) in [
            ("a", 1, 0, 0), ("b", 1, 0, 10), ("a", 2, 13, 20), ("b", 2, 5, 30),
        ] as [(String, UInt64, Int64, Int64)] {
            let request = request(lesseeID, sequence, quiet: quiet, at: now)
            let grant = bucket.apply(request, nowMilliseconds: now)
            admitted += try #require(grant).tokens
            if now == 0 { bucket.fill(limit, nowMilliseconds: 1) }
        }
        #expect(admitted == 100)
    }

    @Test("statistics count the requests that waited, and how long they waited")
    func waits() {
        let limiter = leased()
        ask(limiter)
        ask(limiter)
        clock.advance(milliseconds: 7)
        store.answer(.success(.plain(10, openUnits: 0)), now: clock.now())
        ask(limiter)
        let statistics = limiter.statistics
        #expect(statistics.decisions.waited == 2)
        #expect(statistics.waits.count >= 1)
        #expect((5...10).contains(statistics.waits.quantile(0.5) ?? 0))
    }
}
