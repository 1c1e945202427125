import CisternTestSupport
import CisternTesting
import Testing

@testable import Cistern

/// A single client that waits for the retry-after time of a denial is then allowed.
@Suite("Retry-After")
struct RetryAfterTests {
    struct Bucket: Sendable, CustomTestStringConvertible {
        let capacity: Int
        let refill: Double
        var testDescription: String { "\(capacity), \(refill)/s" }
    }

    private static let buckets = [
        Bucket(capacity: 1, refill: 1), Bucket(capacity: 1, refill: 0.1), Bucket(capacity: 2, refill: 1),
        Bucket(capacity: 5, refill: 600), Bucket(capacity: 100, refill: 10), Bucket(capacity: 1000, refill: 1000),
        Bucket(capacity: 3, refill: 0.001), Bucket(capacity: 1000, refill: 0.5),
    ]

    private let clock = ManualClock(milliseconds: 100_000)

    /// Asks until denied, waits for the retry-after time and expects to be allowed, four times.
    ///
    /// - Parameter isSlow: whether refill during a store call may keep the bucket from ever being empty.
    private func check(
        _ limiter: RateLimiterEngine, cost: Int, inSeconds: Bool, ticks: Bool, isSlow: Bool = false, _ comment: Comment
    ) {
        for round in 0..<4 {
            var denied: Decision?
            // Enough requests to be denied, at a different moment in each round.
            for step in 0..<2500 where denied == nil {
                if step % 50 == 0 { clock.advance(milliseconds: 1) }
                let decision = decide(limiter, cost: cost)
                #expect(decision?.outcome == .allowed || decision?.outcome == .denied, comment)
                if decision?.outcome == .denied { denied = decision }
            }
            guard let denied else {
                #expect(isSlow, "never denied, \(comment)")
                return
            }
            #expect(denied.retryAfterMilliseconds > 0, comment)
            let wait = denied.retryAfterMilliseconds
            self.wait(inSeconds ? (wait + 999) / 1000 * 1000 : wait, limiter, ticks: ticks)
            #expect(decide(limiter, cost: cost)?.outcome == .allowed, "round \(round), waited \(wait) ms, \(comment)")
        }
    }

    private func decide(_ limiter: RateLimiterEngine, cost: Int) -> Decision? {
        let log = DecisionLog()
        let decision = limiter.decide("org".utf8.span, cost: cost, now: clock.now()) { log.add($0) }
        return decision ?? log.all.last
    }

    private func wait(_ milliseconds: Int64, _ limiter: RateLimiterEngine, ticks: Bool) {
        guard ticks else { return clock.advance(milliseconds: milliseconds) }
        var left = milliseconds
        while left > 0 {
            let step = min(left, max(50, milliseconds / 500))
            clock.advance(milliseconds: step)
            limiter.returnIdleLeases(now: clock.now())
            left -= step
        }
    }

    @Test(
        "waiting for Retry-After is enough with a shared store, for any drift within the margin", arguments: buckets,
        [(0, 0), (2, 0), (2, 20), (6, -20)] as [(latency: Int64, drift: Int64)])
    func shared(bucket: Bucket, store: (latency: Int64, drift: Int64)) throws {
        let limit = try Limit(capacity: bucket.capacity, refillPerSecond: bucket.refill)
        let isSlow = Double(store.latency) * bucket.refill > 2000
        for cost in Set([1, bucket.capacity, (bucket.capacity + 1) / 2]) {
            for (inSeconds, ticks) in [(false, false), (false, true), (true, false), (true, true)] {
                let limiter = RateLimiterEngine(
                    limits: Limits(standard: limit),
                    store: BucketStore(
                        limit, clock: clock, latencyMilliseconds: store.latency, driftPerMille: store.drift),
                    lesseeID: "server-1", seed: 1)
                check(
                    limiter, cost: cost, inSeconds: inSeconds, ticks: ticks, isSlow: isSlow,
                    "cost \(cost), in seconds: \(inSeconds), ticks: \(ticks)")
            }
        }
    }

    @Test("waiting for Retry-After is enough with the embedded store", arguments: buckets)
    func embedded(bucket: Bucket) throws {
        let limit = try Limit(capacity: bucket.capacity, refillPerSecond: bucket.refill)
        for cost in Set([1, bucket.capacity]) {
            for inSeconds in [false, true] {
                let limiter = RateLimiterEngine(limits: Limits(standard: limit), seed: 1)
                check(limiter, cost: cost, inSeconds: inSeconds, ticks: false, "cost \(cost)")
            }
        }
    }

    @Test("a denial of a cost above the capacity has no retry-after time, with either store")
    func never() throws {
        let limit = try Limit(capacity: 5, refillPerSecond: 1)
        let store = BucketStore(limit, clock: clock)
        for limiter in [
            RateLimiterEngine(limits: Limits(standard: limit), seed: 1),
            RateLimiterEngine(limits: Limits(standard: limit), store: store, lesseeID: "server-1", seed: 1),
        ] {
            for _ in 0..<3 {
                let decision = try #require(decide(limiter, cost: 6))
                #expect(decision.outcome == .denied)
                #expect(decision.retryAfterMilliseconds == 0)
            }
            #expect(decide(limiter, cost: 5)?.outcome == .allowed)
        }
    }
}
