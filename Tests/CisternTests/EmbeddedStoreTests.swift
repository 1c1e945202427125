import Cistern
import CisternTestSupport
import CisternTesting
import Testing

@Suite("A limiter with the embedded store")
struct EmbeddedStoreTests {
    private let clock = ManualClock(milliseconds: 5000)
    private let limiter = RateLimiterEngine(limits: Limits(), seed: 1)

    private func allowed(of count: Int, by key: String = "org-1") async -> Int {
        var allowed = 0
        for _ in 0..<count where await limiter.decide(key, now: clock.now()).isAllowed { allowed += 1 }
        return allowed
    }

    @Test("burst: exactly 100 requests pass at once, then 10 per second")
    func burst() async {
        #expect(await allowed(of: 101) == 100)
        for _ in 0..<3 {
            clock.advance(milliseconds: 1000)
            #expect(await allowed(of: 50) == 10)
        }
    }

    @Test("steady: 5 requests per second always pass, and the bucket is full again each second")
    func steady() async {
        for _ in 0..<20 {
            #expect(await allowed(of: 5) == 5)
            #expect(await limiter.decide("org-1", cost: 0, now: clock.now()).remaining == 95)
            clock.advance(milliseconds: 1000)
            #expect(await limiter.decide("org-1", cost: 0, now: clock.now()).remaining == 100)
        }
    }

    @Test("idle recovery: 10 idle seconds fill an empty bucket")
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

    @Test("traffic of one key leaves the bucket of another key unchanged")
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
        #expect(impossible.retryAfterMilliseconds == 0)
    }

    @Test("a new key is refused while every bucket is in use, and evicting a full bucket creates no tokens")
    func evictionMakesNoTokens() async {
        var settings = LimiterSettings()
        settings.maximumBuckets = 3
        let limiter = RateLimiterEngine(limits: Limits(), settings: settings, seed: 1)
        for key in ["a", "b", "c"] {
            #expect(await limiter.decide(key, cost: 50, now: clock.now()).outcome == .allowed)
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

    @Test(
        "a flood of new keys is refused and does not evict the keys known before",
        arguments: [1000, 20_000])
    func flood(maximumBuckets: Int) async throws {
        var settings = LimiterSettings()
        settings.maximumBuckets = maximumBuckets
        // Each bucket of the flood is full again after 10 s.
        let limit = try Limit(capacity: 100, refillPerSecond: 0.1)
        let limiter = RateLimiterEngine(limits: Limits(standard: limit), settings: settings, seed: 1)
        let known = (0..<23).map { "known-\($0)" }
        for name in known { #expect(await limiter.decide(name, now: clock.now()).isAllowed) }
        var refused = 0
        for second in 0..<30 {
            for number in 0..<maximumBuckets / 5 {
                let name = "flood-\(second)-\(number)"
                if await limiter.decide(name, now: clock.now()).outcome == .refused { refused += 1 }
            }
            clock.advance(milliseconds: 1000)
        }
        #expect(refused > 0)
        for name in known { #expect(await limiter.decide(name, now: clock.now()).isAllowed, "\(name)") }
    }

    @Test("a new key is admitted while any shard has a bucket that may be evicted")
    func findsTheOnlyOne() async throws {
        var settings = LimiterSettings()
        settings.maximumBuckets = 20_000
        let limit = try Limit(capacity: 100, refillPerSecond: 0.001)
        let limiter = RateLimiterEngine(limits: Limits(standard: limit), settings: settings, seed: 1)
        // Fills every shard.
        var names: [String] = []
        for number in 0..<60_000 where await limiter.decide("n\(number)", cost: 50, now: clock.now()).isAllowed {
            names.append("n\(number)")
        }
        #expect(limiter.statistics.cachedBuckets == 20_000)
        #expect(await limiter.decide("newcomer", now: clock.now()).outcome == .refused)
        // Fills ten buckets, spread over the table. New keys must find exactly these ten, after any number of tries.
        for name in stride(from: 0, to: 20_000, by: 2000).map({ names[$0] }) {
            limiter.fillBucket(of: name.utf8.span, now: clock.now())
        }
        // Eviction for a new key spares known keys for one minute after their last use.
        clock.advance(milliseconds: 60_000)
        var admitted = 0
        for number in 0..<20_000 where await limiter.decide("late-\(number)", now: clock.now()).isAllowed {
            admitted += 1
        }
        #expect(admitted == 10)
    }

    @Test("new keys beyond the limit are denied until the next one is admitted; known keys are unaffected")
    func newKeys() async {
        var settings = LimiterSettings()
        settings.maximumNewKeysPerSecond = 10
        let limiter = RateLimiterEngine(limits: Limits(), settings: settings, seed: 1)
        for number in 0..<10 { #expect(await limiter.decide("n\(number)", now: clock.now()).isAllowed) }
        let denied = await limiter.decide("one more", now: clock.now())
        #expect(denied.outcome == .denied)
        #expect(denied.retryAfterMilliseconds == 100)
        #expect(await limiter.decide("n3", now: clock.now()).isAllowed)
        #expect(limiter.statistics.decisions.newKeysDenied == 1)
        #expect(limiter.statistics.cachedBuckets == 10)
        clock.advance(milliseconds: 100)
        #expect(await limiter.decide("one more", now: clock.now()).isAllowed)
    }

    @Test("keys that differ only in length or Unicode form, or exceed the inline bytes, have separate buckets")
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
