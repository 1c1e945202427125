import CisternSupport
import CisternTesting
import Testing

@testable import Cistern

@Suite("A bucket with the number of its limit")
struct LimitedBucketTests {
    /// Extreme rates and capacities, and limits that count in different units.
    private static func limits() throws -> [Limit] {
        try [
            Limit(capacity: 1, refill: .perDay(1)), Limit(capacity: 1, refillPerSecond: 1_000_000_000),
            Limit(capacity: 1_000_000_000, refillPerSecond: 4, isShadow: true),
            Limit(capacity: 1_000_000_000, refillPerSecond: 1_000_000_000, isShadow: true),
            Limit(capacity: 5, refill: Refill(3, per: .milliseconds(7))), Limit(capacity: 5, refill: .perHour(7)),
            .standard,
        ]
    }

    @Test("a value fits beside a key on its cache line")
    func size() {
        #expect(MemoryLayout<LimitedBucket>.size <= 24)
    }

    @Test("the bucket behaves like a TokenBucket with a separate Limit", arguments: UInt64(1)...8)
    func agrees(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let limits = try Self.limits()
        var (limit, now) = (limits[0], Instant(milliseconds: 1 << 43))
        var pool = LimitPool()
        var small = LimitedBucket(full: limit, id: pool.retain(limit), now: now)
        var wide = TokenBucket(full: limit, nowMilliseconds: now.milliseconds)
        var (paid, unpaid) = (0, 0)
        for _ in 0..<20_000 {
            // Time sometimes steps back, as for a stalled thread that decides for an earlier instant.
            now = now.advanced(byMilliseconds: Int64.random(in: -2...20, using: &random))
            switch Int.random(in: 0..<100, using: &random) {
            case 0:
                wide.refill(limit, nowMilliseconds: now.milliseconds)
                let other = limits[Int.random(in: 0..<limits.count, using: &random)]
                wide = TokenBucket(
                    units: min(limit.convert(wide.units, to: other), other.capacityUnits),
                    asOfMilliseconds: wide.asOfMilliseconds)
                let old = small.limitID
                small.change(from: limit, to: other, id: pool.retain(other), now: now)
                pool.release(old)
                limit = other
            case 1:
                wide = TokenBucket(full: limit, nowMilliseconds: now.milliseconds)
                small.fill(limit, now: now)
            default:
                let cost = Int.random(in: 0...limit.capacity, using: &random)
                wide.refill(limit, nowMilliseconds: now.milliseconds)
                let isPaid = wide.take(limit.units(of: cost))
                let isSmallPaid = small.pay(cost, limit, nowMilliseconds: now.milliseconds)
                #expect(isSmallPaid == isPaid)
                if isPaid {
                    paid += 1
                    let decision = small.decision(limit, at: now)
                    #expect(decision.limit == limit)
                    #expect(decision.balanceUnits == wide.units)
                } else {
                    unpaid += 1
                }
            }
            #expect(pool[small.limitID] == limit)
            #expect(small.bucket(limit, now: now).units == wide.units)
        }
        #expect(paid > 1000 && unpaid > 1000)
        #expect(pool.count == 1)
    }

    @Test("a pool keeps each limit once, and gives the number of an unused one to another limit")
    func pool() throws {
        let limits = try Self.limits()
        var pool = LimitPool()
        let ids = limits.map { pool.retain($0) }
        #expect(Set(ids).count == limits.count)
        #expect(pool.retain(limits[0]) == ids[0])
        pool.release(ids[0])
        #expect(pool[ids[0]] == limits[0] && pool.count == limits.count)
        pool.release(ids[0])
        #expect(pool.count == limits.count - 1)
        let other = try Limit(capacity: 77, refill: .perMinute(1))
        #expect(pool.retain(other) == ids[0] && pool[ids[0]] == other)
    }
}
