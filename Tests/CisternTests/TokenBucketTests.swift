import Testing

@testable import Cistern

@Suite("A token bucket")
struct TokenBucketTests {
    private let token = Limit.microtokensPerToken

    @Test("a bucket refills at its rate every millisecond, up to its capacity")
    func refills() {
        var bucket = TokenBucket(microtokens: 0, asOfMilliseconds: 1000)
        bucket.refill(.standard, nowMilliseconds: 1001)
        #expect(bucket.microtokens == 10_000)
        bucket.refill(.standard, nowMilliseconds: 2000)
        #expect(bucket.microtokens == 10 * token)
        bucket.refill(.standard, nowMilliseconds: 10_999)
        #expect(bucket.microtokens == 99_990_000)
        bucket.refill(.standard, nowMilliseconds: 11_001)
        #expect(bucket.microtokens == 100 * token)
    }

    @Test("a bucket pays a cost in full or not at all")
    func takes() {
        var bucket = TokenBucket(microtokens: 2 * token, asOfMilliseconds: 0)
        let tooMuch = bucket.take(3 * token)
        #expect(!tooMuch)
        #expect(bucket.microtokens == 2 * token)
        let all = bucket.take(2 * token)
        #expect(all)
        let oneMore = bucket.take(1)
        let nothing = bucket.take(0)
        #expect(!oneMore && nothing)
    }

    @Test("a clock that steps back adds no tokens, and no millisecond counts twice")
    func ignoresEarlierReadings() {
        var bucket = TokenBucket(microtokens: 0, asOfMilliseconds: 1000)
        bucket.refill(.standard, nowMilliseconds: 900)
        #expect(bucket.microtokens == 0)
        bucket.refill(.standard, nowMilliseconds: 1100)
        #expect(bucket.microtokens == token)
    }

    @Test("refill stops at the ceiling, and a balance above the ceiling is kept")
    func respectsTheCeiling() {
        var bucket = TokenBucket(microtokens: 10 * token, asOfMilliseconds: 0)
        bucket.refill(.standard, ceilingMicrotokens: 12 * token, nowMilliseconds: 60_000)
        #expect(bucket.microtokens == 12 * token)
        bucket.refill(.standard, ceilingMicrotokens: 5 * token, nowMilliseconds: 70_000)
        #expect(bucket.microtokens == 12 * token)
    }

    @Test("the longest pause at the highest rate does not overflow")
    func saturates() throws {
        let limit = try Limit(capacity: 1_000_000_000, refillPerSecond: 1_000_000_000)
        var bucket = TokenBucket(microtokens: 0, asOfMilliseconds: 0)
        bucket.refill(limit, nowMilliseconds: .max)
        #expect(bucket.microtokens == limit.capacityMicrotokens)
    }

    @Test("refill does not drift: ten million steps of 1 ms equal one step of the same length")
    func doesNotDrift() throws {
        let limit = try Limit(capacity: 1_000_000, refillPerSecond: 0.777)
        var stepwise = TokenBucket(microtokens: 0, asOfMilliseconds: 0)
        for millisecond in 1...10_000_000 { stepwise.refill(limit, nowMilliseconds: Int64(millisecond)) }
        var atOnce = TokenBucket(microtokens: 0, asOfMilliseconds: 0)
        atOnce.refill(limit, nowMilliseconds: 10_000_000)
        #expect(stepwise == atOnce)
        #expect(atOnce.microtokens == 7_770_000_000)
    }

    @Test("the time to gain an amount is rounded up to the millisecond")
    func timesTheNextToken() {
        #expect(Limit.standard.millisecondsToGain(token) == 100)
        #expect(Limit.standard.millisecondsToGain(token + 1) == 101)
        #expect(Limit.standard.millisecondsToGain(1) == 1)
        #expect(Limit.standard.millisecondsToGain(0) == 0)
        #expect(Limit.standard.millisecondsToGain(-5) == 0)
    }
}
