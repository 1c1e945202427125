import Cistern
import Testing

@Suite("A limit")
struct LimitTests {
    @Test("a limit keeps its capacity and its rate")
    func keepsItsNumbers() throws {
        let limit = try Limit(capacity: 100, refillPerSecond: 10)
        #expect(limit.capacity == 100)
        #expect(limit.refillPerSecond == 10)
        #expect(limit == .standard)
        #expect(try Limit(capacity: 1_000_000_000, refillPerSecond: 1_000_000_000).capacity == 1_000_000_000)
        let shadow = try Limit.perSecond(10, capacity: 100, isShadow: true)
        #expect(shadow.isShadow && shadow.capacity == 100 && shadow != limit)
    }

    @Test(
        "a refill is read from its text, and written in the longest whole period",
        arguments: [
            ("10/s", "10/s", 10), ("600/m", "10/s", 10), ("5/h", "5/h", 5 / 3600), ("7/d", "7/d", 7 / 86_400),
            ("3/250ms", "12/s", 12), ("1/7ms", "1/7ms", 1000 / 7), ("1/2h", "12/d", 1 / 7200),
            ("1/3d", "1/3d", 1 / 259_200), ("1000000000/s", "1000000000/s", 1e9),
        ] as [(String, String, Double)])
    func refills(text: String, written: String, perSecond: Double) throws {
        let refill = try #require(Refill(text))
        #expect(refill.description == text)
        let limit = try Limit(capacity: 3, refill: refill)
        #expect(limit.refill.description == written)
        #expect(limit.refillPerSecond == perSecond)
        #expect(try Limit(capacity: 3, refill: limit.refill) == limit)
        #expect(try Limit(capacity: 3, refillPerSecond: limit.refillPerSecond) == limit)
    }

    @Test(
        "a text that is no refill is not read",
        arguments: [
            "", "10", "10/", "/s", "10/w", "-1/s", "+1/s", "1.5/s", "10/s/s", "10 /s", "1e3/s", "5/-1h", "1/1.5h",
            "٣/s",
            "99999999999999999999/s", "1/9223372036854775807d",
        ])
    func noRefill(text: String) {
        #expect(Refill(text) == nil)
    }

    @Test(
        "a number of tokens a second stands for the simplest fraction that it rounds to",
        arguments: [
            (0.1, "1/10s"), (0.333, "333/1000s"), (0.3333333333333333, "1/3s"), (33.333333333333336, "100/3s"),
            (0.001, "1/1000s"), (12_345.678, "12345678/1000s"), (1.1574074074074073e-05, "1/d"),
            (0.000001, "1/1000000s"), (3, "3/s"), (0.30000000000000004, "3/10s"),
        ] as [(Double, String)])
    func decimals(perSecond: Double, text: String) throws {
        let limit = try Limit(capacity: 1, refillPerSecond: perSecond)
        let refill = try #require(Refill(text))
        let exact = try Limit(capacity: 1, refill: refill)
        #expect(limit == exact)
    }

    @Test(
        "an invalid limit throws an error that names the field, the value and the remedy",
        arguments: [
            (-1, "10/s", "capacity is -1: use a whole number of tokens from 0 to 1000000000"),
            (1_000_000_001, "10/s", "capacity is 1000000001: use a whole number of tokens from 0 to 1000000000"),
            (
                100, "0/s",
                "refill is 0/s: use at least one token per period of whole milliseconds, such as 10/s, 5/h or 3/250ms"
            ),
            (
                100, "1/0ms",
                "refill is 1/0ms: use at least one token per period of whole milliseconds, such as 10/s, 5/h or 3/250ms"
            ),
            (100, "1000000001/s", "refill is 1000000001/s: use at most 1000000000 tokens a second"),
            (
                1_000_000_000, "1/s",
                "refill is 1/s: a bucket of 1000000000 would take over ten years to fill; raise the refill or lower "
                    + "capacity"
            ),
            (
                1_000_000_000, "86400001/d",
                "refill is 86400001/d: a bucket of 1000000000 cannot count as finely as one token in 86400000 parts; "
                    + "use a simpler refill, or a capacity of at most 13031248"
            ),
        ])
    func refusesWhatCannotBe(capacity: Int, refill: String, message: String) throws {
        let refill = try #require(Refill(refill))
        let error = #expect(throws: LimitError.self) { try Limit(capacity: capacity, refill: refill) }
        #expect(error?.description == message)
    }

    @Test("a rate that is no positive number throws an error", arguments: [0, -5, .nan, .infinity, 1e300, 1e-300])
    func refusesRates(perSecond: Double) {
        let error = #expect(throws: LimitError.self) { try Limit(capacity: 100, refillPerSecond: perSecond) }
        #expect(
            error?.description
                == "refillPerSecond is \(perSecond): use a number of tokens a second above 0, at most 1000000000")
    }

    @Test("a period with a fraction of a millisecond is refused")
    func fractions() {
        let refill = Refill(1, per: .microseconds(1500))
        #expect(throws: LimitError.self) { try Limit(capacity: 1, refill: refill) }
    }

    @Test("a limit of capacity 0 denies every request that costs something, forever, and admits one that costs nothing")
    func zero() throws {
        let limit = try Limit.perSecond(1, capacity: 0)
        let limiter = RateLimiterEngine(limits: Limits(standard: limit), seed: 1)
        let now = Instant(milliseconds: 1000)
        let denial = limiter.decideNow("acme".utf8.span, now: now)
        #expect(denial?.outcome == .denied && denial?.retryAfter == nil)
        let free = limiter.decideNow("acme".utf8.span, cost: 0, now: now)
        #expect(free?.isAllowed == true)
    }

    @Test("a limit set for one key leaves other keys at the default")
    func looksUpByName() throws {
        let generous = try Limit(capacity: 5000, refillPerSecond: 500)
        let limits = Limits(standard: .standard, byKey: ["acme": generous])
        #expect(limits.limit(of: "acme".utf8.span) == generous)
        #expect(limits.limit(of: "acm".utf8.span) == .standard)
    }
}
