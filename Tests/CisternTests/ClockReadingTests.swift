import Cistern
import CisternTesting
import Testing

@Suite("The now argument of a decision")
struct ClockReadingTests {
    /// A clock that counts how often it is read.
    private struct CountedClock {
        private(set) var readings = 0

        mutating func now() -> Instant {
            readings += 1
            return Instant(milliseconds: 1000)
        }
    }

    private static let names = [
        "", "org-1", "6f9619ff-8b86-4011-b42d-00cf4fc964ff", String(repeating: "o", count: 200),
    ]

    @Test(
        "now is evaluated exactly once per decision, for every key and outcome",
        arguments: names, [false, true])
    func readsOnce(name: String, isLeased: Bool) {
        let limiter =
            isLeased
            ? RateLimiterEngine(limits: Limits(), store: ScriptedStore(), lesseeID: "one", seed: 1)
            : RateLimiterEngine(limits: Limits(), seed: 1)
        var clock = CountedClock()
        for (request, cost) in [1, 100, 0].enumerated() {
            _ = limiter.decideNow(name.utf8.span, cost: cost, now: clock.now())
            #expect(clock.readings == 2 * request + 1)
            _ = limiter.allowNow(name.utf8.span, cost: cost, now: clock.now())
            #expect(clock.readings == 2 * request + 2)
        }
    }

    @Test("evaluating now may call the same limiter, because no lock is held")
    func asksWithin() {
        let limiter = RateLimiterEngine(limits: Limits(), seed: 1)
        func now() -> Instant {
            let inner = limiter.allowNow("org-1".utf8.span, now: Instant(milliseconds: 1000))
            #expect(inner == true)
            return Instant(milliseconds: 1000)
        }
        #expect(limiter.allowNow("org-1".utf8.span, now: now()) == true)
        #expect(limiter.decideNow("org-1".utf8.span, now: now())?.remaining == 96)
    }
}
