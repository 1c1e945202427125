import CisternTesting
import Testing

@testable import Cistern

@Suite("The short way of a lease")
struct LeaseShortWayTests {
    private let limit: Limit
    private let settings: LeaseSettings

    init() throws {
        limit = try Limit(capacity: 1000, refillPerSecond: 400)
        var settings = LeaseSettings()
        settings.prefetchMilliseconds = 20
        self.settings = settings
    }

    /// What tells two leases apart.
    private func fingerprint(_ lease: Lease) -> [Int64] {
        [
            Int64(lease.heldTokens), Int64(lease.spent), Int64(lease.wanted), lease.word.openMicrotokens,
            lease.latest.nanoseconds, lease.spentAt.nanoseconds, lease.expiresAt.nanoseconds,
            Int64(lease.notes.rawValue), Int64(lease.terms.early), Int64(lease.restsDownTo), Int64(lease.coming),
        ]
    }

    @Test("pays what the long way pays, and leaves the lease as that does, through a hundred thousand random events")
    func agrees() {
        var random = SeededRandom(seed: 11)
        var now = Instant(milliseconds: 10_000)
        var tally = LeaseTokenTally()
        var lease = Lease(limit: limit, now: now)
        var sequence: UInt64 = 0
        var (paid, left, askedAt) = (0, 0, now)
        for _ in 0..<100_000 {
            now = Instant(nanoseconds: now.nanoseconds + Int64.random(in: 0...3_000_000, using: &random))
            if Int.random(in: 0..<12, using: &random) == 0 {
                if lease.isAsking {
                    let isPaced = Bool.random(using: &random)
                    let grant = Grant(
                        tokens: Int.random(in: 0...200, using: &random), held: Int(lease.heldTokens),
                        openMicrotokens: Int64.random(in: -1_000_000...900_000_000, using: &random),
                        paced: isPaced ? 50 : 0, paceMilliseconds: isPaced ? 30 : 0,
                        openRefillMicrotokensPerMillisecond: 100_000, outstanding: 100)
                    lease.settle(grant, sentAt: askedAt, settings: settings, now: now, tally: &tally)
                } else {
                    sequence += 1
                    askedAt = now
                    _ = lease.ask(
                        waitingTokens: 0, sequence: sequence, sizing: DemandSizing(), settings: settings, now: now,
                        tally: &tally)
                }
            }
            // A thread that stalled is late.
            let late = Bool.random(using: &random) ? 0 : Int64.random(in: 0...2_000_000, using: &random)
            let moment = Instant(nanoseconds: now.nanoseconds - late)
            let cost = UInt32.random(in: 0...3, using: &random)
            var (short, long) = (lease, lease)
            let atOnce = short.spendAtOnce(cost: cost, now: moment)
            let inTheEnd = long.spend(
                cost: cost, clockDriftPerMille: settings.clockDriftPerMille, now: moment, tally: &tally)
            if atOnce.isMade {
                paid += 1
                #expect(inTheEnd.isMade)
                #expect(atOnce.decision(at: moment) == inTheEnd.decision(at: long.latest))
                #expect(atOnce.decision(at: moment).remaining == inTheEnd.decision(at: long.latest).remaining)
                // What the store said has been left behind, and comes to the same.
                var carried = short
                carried.advance(clockDriftPerMille: settings.clockDriftPerMille, now: moment, tally: &tally)
                #expect(fingerprint(carried) == fingerprint(long))
                lease = short
            } else {
                left += 1
                #expect(fingerprint(short) == fingerprint(lease), "it has changed nothing")
                lease = long
            }
        }
        #expect(paid > 20_000 && left > 20_000, "\(paid) paid at once, \(left) not")
    }

    @Test("tells what is left as the refill goes on, however long ago the store was asked")
    func balance() {
        let start = Instant(milliseconds: 10_000)
        var tally = LeaseTokenTally()
        var lease = Lease(limit: limit, now: start)
        _ = lease.ask(
            waitingTokens: 0, sequence: 1, sizing: DemandSizing(), settings: settings, now: start, tally: &tally)
        let grant = Grant(
            tokens: 100, held: 0, openMicrotokens: 0, openRefillMicrotokensPerMillisecond: 400_000, outstanding: 100)
        lease.settle(grant, sentAt: start, settings: settings, now: start, tally: &tally)
        for (milliseconds, remaining) in [(0, 99), (1, 98), (10, 101), (1000, 496)] {
            let now = start.advanced(byMilliseconds: Int64(milliseconds))
            let payment = lease.spendAtOnce(cost: 1, now: now)
            #expect(payment.isMade)
            #expect(payment.decision(at: now).remaining == remaining)
        }
    }
}
