import CisternSupport
import CisternTesting
import Testing

@testable import Cistern

@Suite("A bucket packed with its limit into 24 bytes")
struct LimitedBucketTests {
    /// Extreme rates and capacities, and rates on both sides of the 32-bit boundary.
    private static func limits() throws -> [Limit] {
        try [
            Limit(capacity: 1, refillPerSecond: 0.001), Limit(capacity: 1, refillPerSecond: 1_000_000_000),
            Limit(capacity: 1_000_000_000, refillPerSecond: 4, isShadow: true),
            Limit(capacity: 1_000_000_000, refillPerSecond: 1_000_000_000, isShadow: true),
            Limit(capacity: 5, refillPerSecond: 4_294_967.295), Limit(capacity: 5, refillPerSecond: 4_294_967.296),
            .standard,
        ]
    }

    @Test("a packed bucket keeps its limit and balance exactly, at every instant")
    func keepsAll() throws {
        for limit in try Self.limits() {
            for nanoseconds: Int64 in [0, 999_999, 1_000_000, 1 << 62, .max] {
                let now = Instant(nanoseconds: nanoseconds)
                let bucket = LimitedBucket(full: limit, now: now)
                #expect(bucket.limit == limit)
                #expect(bucket.bucket(now: now) == TokenBucket(full: limit, nowMilliseconds: now.milliseconds))
                #expect(bucket.isFull(now: now))
            }
        }
    }

    @Test("a packed bucket behaves like a TokenBucket with a separate Limit", arguments: UInt64(1)...8)
    func agrees(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let limits = try Self.limits()
        var (limit, now) = (limits[0], Instant(milliseconds: 1 << 43))
        var narrow = LimitedBucket(full: limit, now: now)
        var wide = TokenBucket(full: limit, nowMilliseconds: now.milliseconds)
        var (paid, unpaid) = (0, 0)
        for _ in 0..<20_000 {
            // Time sometimes steps back, as for a stalled thread that decides for an earlier instant.
            now = now.advanced(byMilliseconds: Int64.random(in: -2...20, using: &random))
            switch Int.random(in: 0..<100, using: &random) {
            case 0:
                wide.refill(limit, nowMilliseconds: now.milliseconds)
                limit = limits[Int.random(in: 0..<limits.count, using: &random)]
                wide.cap(at: limit.capacityMicrotokens)
                narrow.change(to: limit, now: now)
            case 1:
                wide = TokenBucket(full: limit, nowMilliseconds: now.milliseconds)
                narrow.fill(now: now)
            default:
                let cost = Int64.random(in: 0...limit.capacityMicrotokens, using: &random)
                wide.refill(limit, nowMilliseconds: now.milliseconds)
                let isPaid = wide.take(cost)
                let isNarrowPaid = narrow.pay(cost, nowMilliseconds: now.milliseconds)
                #expect(isNarrowPaid == isPaid)
                if isPaid {
                    paid += 1
                    let decision = narrow.decision(at: now)
                    #expect(decision.limit == limit)
                    #expect(decision.balanceMicrotokens == wide.microtokens)
                } else {
                    unpaid += 1
                }
            }
            #expect(narrow.limit == limit)
            #expect(narrow.isFull(now: now) == (wide.microtokens >= limit.capacityMicrotokens))
            #expect(narrow.bucket(now: now).microtokens == wide.microtokens)
        }
        #expect(paid > 1000 && unpaid > 1000)
    }
}
