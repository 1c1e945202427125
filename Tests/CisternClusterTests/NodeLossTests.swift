import CisternProcesses
import CisternSupport
import CisternTesting
import Testing

@testable import Cistern
@testable import CisternCluster

@Suite("Loss and return of a node")
struct NodeLossTests {
    // MARK: The fraction lease

    @Test("the fraction valid at the loss of the node is kept, and an expired one is not")
    func keepsTheFraction() {
        let start = Instant(milliseconds: 1000)
        let share = Subject(FractionLease())
        share { $0.markNodeLost(now: start) }
        #expect(share { $0.localFraction } == nil)
        share { $0.markNodeRecovered() }
        share { $0.grant(250_000, sentAt: start, clockDriftPerMille: 20) }
        #expect(share { $0.localFraction } == nil)
        #expect(share { $0.held(now: start.advanced(byMilliseconds: 2939)) } == 250_000)
        #expect(share { $0.held(now: start.advanced(byMilliseconds: 2940)) } == 0)
        share { $0.markNodeLost(now: start.advanced(byMilliseconds: 2939)) }
        // Further failures of the same loss change nothing.
        share { $0.markNodeLost(now: start.advanced(byMilliseconds: 60_000)) }
        #expect(
            share { $0.localFraction }
                == LocalFraction(millionths: 250_000, lostAt: start.advanced(byMilliseconds: 2939)))
        share { $0.markNodeRecovered() }
        share { $0.markNodeLost(now: start.advanced(byMilliseconds: 60_000)) }
        #expect(share { $0.localFraction } == nil)
    }

    // MARK: The recovery ramp

    @Test("a returning node gets few requests at first, twice as many in each step, and then all")
    func ramps() {
        let ramp = Subject(RecoveryRamp(first: 10))
        let start = Instant(milliseconds: 1000)
        #expect((0..<1000).allSatisfy { _ in ramp { $0.permits(now: start) } })
        ramp { $0.start() }
        var permitted: [Int] = []
        for step in 0..<6 {
            let now = start.advanced(byMilliseconds: Int64(step) * 100 + 99)
            permitted.append((0..<1000).count { _ in ramp { $0.permits(now: now) } })
        }
        #expect(permitted == [10, 20, 40, 80, 160, 1000])
        // The steps count from the first request, even if it comes long after the node's return.
        ramp { $0.start() }
        let late = start.advanced(byMilliseconds: 60_000)
        #expect((0..<1000).count { _ in ramp { $0.permits(now: late) } } == 10)
    }

    // MARK: The local bucket

    @Test("n local buckets and leases from before the loss together admit no more than one bucket would")
    func partsAddUp() throws {
        for seed in 1...50 {
            var random = SeededRandom(seed: UInt64(seed))
            let servers = Int.random(in: 1...8, using: &random)
            let limit = try Limit(
                capacity: Int.random(in: 1...200, using: &random),
                refillPerSecond: Double(Int.random(in: 1...50_000, using: &random)) / 1000)
            let lost = Instant(milliseconds: 100_000)
            let share = LocalFraction(millionths: 1_000_000 / Int64(servers), lostAt: lost)
            var buckets = (0..<servers).map { _ in
                LocalBucket(
                    limit, partition: .only, fraction: share, spentAt: Instant(milliseconds: 0),
                    settings: LeaseSettings())
            }
            // At most half of the capacity is leased at the loss, and it expires within the duration of a lease.
            var leased = limit.capacity / 2
            // If there are fewer tokens than servers, each server may still get one whole token.
            let ceiling = Int64(max(limit.capacity, servers)) * 1_000_000
            var ideal = TokenBucket(units: ceiling, asOfMilliseconds: lost.milliseconds)
            var now = lost
            for _ in 0..<2000 {
                now = now.advanced(byMilliseconds: Int64.random(in: 0...20, using: &random))
                let settings = LeaseSettings()
                let isLeaseAlive = now < lost.advanced(byMilliseconds: settings.durationMilliseconds)
                let server = Int.random(in: 0..<servers, using: &random)
                var isAdmitted = false
                if isLeaseAlive, leased > 0, Int.random(in: 0..<10, using: &random) == 0 {
                    leased -= 1
                    isAdmitted = true
                } else {
                    isAdmitted =
                        buckets[server].decide(limit, costUnits: 1_000_000, settings: settings, now: now)
                        .isAllowed
                }
                ideal.refill(limit, ceilingUnits: ceiling, nowMilliseconds: now.milliseconds)
                guard isAdmitted else { continue }
                let couldPay = ideal.take(1_000_000)
                #expect(couldPay, "seed \(seed)")
            }
        }
    }

    @Test(
        "a fraction below one token pays eventually, at the time that a denial states, for any drift",
        arguments: [(1, 1), (2, 2), (3, 3), (3, 4), (6, 6), (1, 8)], [Int64(0), 20, 200])
    func smallParts(limitAndServers: (capacity: Int, servers: Int), drift: Int64) throws {
        let limit = try Limit(capacity: limitAndServers.capacity, refillPerSecond: 2)
        var settings = LeaseSettings()
        settings.clockDriftPerMille = drift
        let lost = Instant(milliseconds: 50_000)
        let share = LocalFraction(millionths: 1_000_000 / Int64(limitAndServers.servers), lostAt: lost)
        var bucket = LocalBucket(
            limit, partition: .only, fraction: share, spentAt: Instant(milliseconds: 0), settings: settings)
        var (now, admitted) = (lost, 0)
        for _ in 0..<40 {
            let decision = bucket.decide(limit, costUnits: 1_000_000, settings: settings, now: now)
            #expect(decision.outcome != .refused)
            if decision.isAllowed { admitted += 1 } else { #expect(decision.retryAfterMilliseconds > 0) }
            if !decision.isAllowed {
                // Waiting for the retry-after time is enough, also before the first token.
                var later = bucket
                let then = now.advanced(byMilliseconds: decision.retryAfterMilliseconds)
                let paid = later.decide(limit, costUnits: 1_000_000, settings: settings, now: then)
                #expect(paid.isAllowed)
            }
            if admitted > 0, !decision.isAllowed {
                // After the first payment, waiting 2 ms less is not enough.
                let wait = decision.retryAfterMilliseconds
                var early = bucket
                let tooSoon = now.advanced(byMilliseconds: wait - 2)
                let denied = early.decide(limit, costUnits: 1_000_000, settings: settings, now: tooSoon)
                #expect(!denied.isAllowed)
            }
            now = now.advanced(byMilliseconds: decision.retryAfterMilliseconds)
        }
        #expect(admitted >= 15)
        let impossible = Int64(max(limitAndServers.capacity, limitAndServers.servers) + 1) * 1_000_000
        #expect(bucket.decide(limit, costUnits: impossible, settings: settings, now: now).outcome == .refused)
    }

    @Test("the retry-after time of a large cost accounts for leases from before the loss")
    func largeCost() throws {
        let limit = try Limit(capacity: 1000, refillPerSecond: 1000)
        let lost = Instant(milliseconds: 0)
        let share = LocalFraction(millionths: 1_000_000, lostAt: lost)
        var bucket = LocalBucket(limit, partition: .only, fraction: share, spentAt: lost, settings: LeaseSettings())
        let cost: Int64 = 800_000_000
        let denied = bucket.decide(limit, costUnits: cost, settings: LeaseSettings(), now: lost)
        let then = lost.advanced(byMilliseconds: denied.retryAfterMilliseconds)
        #expect(bucket.decide(limit, costUnits: cost, settings: LeaseSettings(), now: then).isAllowed)
    }

    @Test("a local bucket first used late holds its fraction of half the capacity until leases expire")
    func lateFirstLook() throws {
        let limit = try Limit(capacity: 1000, refillPerSecond: 1000)
        let settings = LeaseSettings()
        let lost = Instant(milliseconds: 0)
        let share = LocalFraction(millionths: 250_000, lostAt: lost)
        var bucket = LocalBucket(limit, partition: .only, fraction: share, spentAt: lost, settings: settings)
        let lapsed = lost.advanced(byMilliseconds: settings.localMilliseconds(settings.durationMilliseconds))
        let admitted = (0..<1000).count { _ in
            bucket.decide(limit, costUnits: 1_000_000, settings: settings, now: lapsed).isAllowed
        }
        #expect(admitted == 125)
    }

    @Test("a fraction of a slow refill loses nothing to rounding, and states when it can pay")
    func slowRefill() throws {
        let limit = try Limit(capacity: 10, refillPerSecond: 0.001)
        let lost = Instant(milliseconds: 0)
        var settings = LeaseSettings()
        settings.clockDriftPerMille = 0
        let bucket = Subject(
            LocalBucket(
                limit, partition: .only, fraction: LocalFraction(millionths: 333_333, lostAt: lost), spentAt: lost,
                settings: settings))
        let cost: Int64 = 1_000_000
        let denied = bucket { $0.decide(limit, costUnits: cost, settings: settings, now: lost) }
        #expect(denied.outcome == .denied)
        // A third of a token per 1000 s, starting when trickle grants from before the loss have ended.
        #expect(denied.retryAfterMilliseconds == 3_000_602)
        let due = lost.advanced(byMilliseconds: 3_000_602)
        let early = due.advanced(byMilliseconds: -1)
        #expect(!bucket { $0.decide(limit, costUnits: cost, settings: settings, now: early) }.isAllowed)
        #expect(bucket { $0.decide(limit, costUnits: cost, settings: settings, now: due) }.isAllowed)
    }
}
