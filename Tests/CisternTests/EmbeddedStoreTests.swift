import Cistern
import CisternTesting
import Testing

@Suite("A limiter with the embedded store")
struct EmbeddedStoreTests {
    private let clock = ManualClock(milliseconds: 5000)
    private let limiter = RateLimiter(limits: Limits(), seed: 1)

    private func allowed(of count: Int, by organization: String = "org-1") async -> Int {
        var allowed = 0
        for _ in 0..<count where await limiter.decide(organization, now: clock.now()).isAllowed { allowed += 1 }
        return allowed
    }

    @Test("burst: a hundred at once pass and no more, then ten a second")
    func burst() async {
        #expect(await allowed(of: 101) == 100)
        for _ in 0..<3 {
            clock.advance(milliseconds: 1000)
            #expect(await allowed(of: 50) == 10)
        }
    }

    @Test("steady: five a second can go on for ever and always find a full bucket")
    func steady() async {
        for _ in 0..<20 {
            #expect(await allowed(of: 5) == 5)
            #expect(await limiter.decide("org-1", cost: 0, now: clock.now()).remaining == 95)
            clock.advance(milliseconds: 1000)
            #expect(await limiter.decide("org-1", cost: 0, now: clock.now()).remaining == 100)
        }
    }

    @Test("idle recovery: ten quiet seconds fill an empty bucket")
    func idleRecovery() async {
        #expect(await allowed(of: 100) == 100)
        clock.advance(milliseconds: 10_000)
        #expect(await allowed(of: 101) == 100)
    }

    @Test("a denial says when the next token comes and when the bucket is full")
    func denial() async {
        _ = await allowed(of: 100)
        clock.advance(milliseconds: 30)
        let decision = await limiter.decide("org-1", now: clock.now())
        #expect(decision.outcome == .denied)
        #expect(decision.remaining == 0)
        #expect(decision.retryAfterMilliseconds == 70)
        #expect(decision.resetAt == clock.now().advanced(byMilliseconds: 9970))
        clock.advance(milliseconds: 69)
        #expect(await allowed(of: 1) == 0)
        clock.advance(milliseconds: 1)
        #expect(await allowed(of: 2) == 1)
    }

    @Test("one organisation's traffic leaves another's bucket alone")
    func isolation() async {
        #expect(await allowed(of: 500, by: "org-1") == 100)
        #expect(await allowed(of: 1, by: "org-2") == 1)
        #expect(await limiter.decide("org-2", cost: 0, now: clock.now()).remaining == 99)
    }

    @Test("a cost above the balance takes nothing; a cost above the capacity never passes")
    func costs() async {
        #expect(await limiter.decide("org-1", cost: 60, now: clock.now()).remaining == 40)
        #expect(await limiter.decide("org-1", cost: 41, now: clock.now()).outcome == .denied)
        #expect(await limiter.decide("org-1", cost: 40, now: clock.now()).outcome == .allowed)
        clock.advance(milliseconds: 60_000)
        let impossible = await limiter.decide("org-1", cost: 101, now: clock.now())
        #expect(impossible.outcome == .denied)
        #expect(impossible.retryAfterMilliseconds >= 1)
    }

    @Test("while every bucket is in use a newcomer is refused, and forgetting a full bucket changes nothing")
    func evictionMakesNoTokens() async {
        var settings = LimiterSettings()
        settings.maximumBuckets = 3
        let limiter = RateLimiter(limits: Limits(), settings: settings, seed: 1)
        for organization in ["a", "b", "c"] {
            #expect(await limiter.decide(organization, cost: 50, now: clock.now()).outcome == .allowed)
        }
        let refused = await limiter.decide("d", now: clock.now())
        #expect(refused.outcome == .refused)
        #expect(refused.retryAfterMilliseconds == 1000)
        #expect(await limiter.decide("a", cost: 51, now: clock.now()).outcome == .denied)
        clock.advance(milliseconds: 5000)
        #expect(await limiter.decide("d", now: clock.now()).outcome == .allowed)
        let statistics = limiter.statistics
        #expect(statistics.cachedBuckets == 3)
        #expect(statistics.evictions == 1)
        #expect(statistics.decisions.refused == 1)
    }

    @Test("names that differ only in length, or run past the inline key, are different organisations")
    func oddNames() async {
        let names = [
            "", "x", "xx", String(repeating: "x", count: 40), String(repeating: "x", count: 41), "é", "e\u{301}",
        ]
        for name in names {
            #expect(await limiter.decide(name, cost: 100, now: clock.now()).isAllowed, "\(name)")
        }
        for name in names {
            #expect(await limiter.decide(name, now: clock.now()).outcome == .denied, "\(name)")
        }
    }
}
