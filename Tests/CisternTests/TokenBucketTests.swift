import CisternSupport
import Testing

@testable import Cistern

@Suite("A token bucket")
struct TokenBucketTests {
    private let token = Limit.standardUnitsPerToken

    @Test("a bucket refills at its rate every millisecond, up to its capacity")
    func refills() {
        var bucket = TokenBucket(units: 0, asOfMilliseconds: 1000)
        bucket.refill(.standard, nowMilliseconds: 1001)
        #expect(bucket.units == 10_000)
        bucket.refill(.standard, nowMilliseconds: 2000)
        #expect(bucket.units == 10 * token)
        bucket.refill(.standard, nowMilliseconds: 10_999)
        #expect(bucket.units == 99_990_000)
        bucket.refill(.standard, nowMilliseconds: 11_001)
        #expect(bucket.units == 100 * token)
    }

    @Test("a bucket pays a cost in full or not at all")
    func takes() {
        var bucket = TokenBucket(units: 2 * token, asOfMilliseconds: 0)
        let tooMuch = bucket.take(3 * token)
        #expect(!tooMuch)
        #expect(bucket.units == 2 * token)
        let all = bucket.take(2 * token)
        #expect(all)
        let oneMore = bucket.take(1)
        let nothing = bucket.take(0)
        #expect(!oneMore && nothing)
    }

    @Test("a clock that steps back adds no tokens, and no millisecond counts twice")
    func ignoresEarlierReadings() {
        var bucket = TokenBucket(units: 0, asOfMilliseconds: 1000)
        bucket.refill(.standard, nowMilliseconds: 900)
        #expect(bucket.units == 0)
        bucket.refill(.standard, nowMilliseconds: 1100)
        #expect(bucket.units == token)
    }

    @Test("refill stops at the ceiling, and a balance above the ceiling is kept")
    func respectsTheCeiling() {
        var bucket = TokenBucket(units: 10 * token, asOfMilliseconds: 0)
        bucket.refill(.standard, ceilingUnits: 12 * token, nowMilliseconds: 60_000)
        #expect(bucket.units == 12 * token)
        bucket.refill(.standard, ceilingUnits: 5 * token, nowMilliseconds: 70_000)
        #expect(bucket.units == 12 * token)
    }

    @Test("the longest pause at the highest rate does not overflow")
    func saturates() throws {
        let limit = try Limit(capacity: 1_000_000_000, refillPerSecond: 1_000_000_000)
        var bucket = TokenBucket(units: 0, asOfMilliseconds: 0)
        bucket.refill(limit, nowMilliseconds: .max)
        #expect(bucket.units == limit.capacityUnits)
    }

    @Test("refill does not drift: ten million steps of 1 ms equal one step of the same length")
    func doesNotDrift() throws {
        let limit = try Limit(capacity: 1_000_000, refillPerSecond: 0.777)
        var stepwise = TokenBucket(units: 0, asOfMilliseconds: 0)
        for millisecond in 1...10_000_000 { stepwise.refill(limit, nowMilliseconds: Int64(millisecond)) }
        var atOnce = TokenBucket(units: 0, asOfMilliseconds: 0)
        atOnce.refill(limit, nowMilliseconds: 10_000_000)
        #expect(stepwise == atOnce)
        #expect(atOnce.units == 7_770_000_000)
    }

    /// What rational arithmetic gives: tokens · elapsed / period, less what was taken, as whole units.
    private struct RationalBucket {
        let tokens: Int128
        let periodMilliseconds: Int128
        let capacity: Int128
        /// The level times the period.
        var scaledLevel: Int128
        var asOfMilliseconds: Int64

        mutating func refill(to now: Int64) {
            scaledLevel = min(capacity * periodMilliseconds, scaledLevel + tokens * Int128(now - asOfMilliseconds))
            asOfMilliseconds = now
        }

        mutating func take(_ cost: Int) -> Bool {
            guard scaledLevel >= Int128(cost) * periodMilliseconds else { return false }
            scaledLevel -= Int128(cost) * periodMilliseconds
            return true
        }
    }

    @Test(
        "200,000 random steps give what rational arithmetic gives, however often the bucket is touched",
        arguments: ["1/m", "5/h", "7/d", "3/250ms", "1000000000/s"])
    func matchesRationals(text: String) throws {
        let refill = try #require(Refill(text))
        let limit = try Limit(capacity: 20, refill: refill)
        var random = SeededRandom(seed: 1)
        let period = try #require(refill.periodMilliseconds)
        var now: Int64 = 1_000_000
        var exact = RationalBucket(
            tokens: Int128(refill.tokens), periodMilliseconds: Int128(period), capacity: 20,
            scaledLevel: 20 * Int128(period), asOfMilliseconds: now)
        var bucket = TokenBucket(full: limit, nowMilliseconds: now)
        var (paid, unpaid) = (0, 0)
        for _ in 0..<200_000 {
            // Mostly small steps, down to none; the mean is the time in which two tokens flow in.
            let mean = max(1, 2 * Double(period) / Double(refill.tokens))
            now += Int64(mean * random.fraction() * random.fraction() * 4)
            let cost = random.number(0...8)
            exact.refill(to: now)
            bucket.refill(limit, nowMilliseconds: now)
            let (isPaid, isExactPaid) = (bucket.take(limit.units(of: cost)), exact.take(cost))
            if isPaid != isExactPaid
                || Int128(bucket.units) * exact.periodMilliseconds
                    != exact.scaledLevel * Int128(limit.unitsPerToken)
            {
                Issue.record("\(bucket) is not \(exact) at \(text)")
                return
            }
            if isPaid { paid += 1 } else { unpaid += 1 }
        }
        #expect(paid > 10_000 && (unpaid > 10_000 || text == "1000000000/s"))
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
