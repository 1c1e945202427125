import CisternSupport
import CisternTesting
import Testing

@testable import Cistern

@Suite("The short way of a lease")
struct LeaseFastPathTests {
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
            Int64(lease.heldTokens), Int64(lease.spent), Int64(lease.wanted), lease.estimate.openMicrotokens,
            lease.latest.nanoseconds, lease.spentAt.nanoseconds, lease.expiresAt.nanoseconds,
            Int64(lease.notes.rawValue), Int64(lease.terms.early), Int64(lease.fastPathFloor),
            Int64(lease.trickleRemaining),
        ]
    }

    /// Why a request is not paid at once.
    private enum Reason: CaseIterable {
        case stalledThread, tooFewTokens, runningDry, halfSpentTokens, requesting, trickleTokens, renewedByTime, lapsed,
            unspentSince
    }

    private func reason(_ lease: Lease, cost: UInt32, now: Instant) -> Reason? {
        if now < lease.latest { return .stalledThread }
        guard case .settled(let terms) = lease.phase else { return .requesting }
        if terms.trickle.remaining > 0 { return .trickleTokens }
        if now >= lease.expiresAt { return .lapsed }
        if now >= lease.fastPathDeadline { return .renewedByTime }
        if cost > lease.heldTokens { return .tooFewTokens }
        if lease.heldTokens - cost < terms.renewBelow { return .runningDry }
        if lease.spentAt < lease.estimateAt { return .unspentSince }
        return lease.isHalfSpent(with: cost, terms) ? .halfSpentTokens : nil
    }

    /// A lease among random events: requests to the store and their answers or failures, changes of limit and home, time.
    private struct Life {
        let settings: LeaseSettings
        var random = SeededRandom(seed: 11)
        var now = Instant(milliseconds: 10_000)
        var tally = LeaseTokenTally()
        var limit: Limit
        var lease: Lease
        private var sequence: UInt64 = 0
        private var (reported, askedAt) = (0, Instant(milliseconds: 0))

        init(limit: Limit, settings: LeaseSettings) {
            self.limit = limit
            self.settings = settings
            lease = Lease(limit: limit, now: now)
        }

        mutating func isOneIn(_ count: Int) -> Bool { Int.random(in: 0..<count, using: &random) == 0 }

        mutating func goOn() throws {
            let nanoseconds: ClosedRange<Int64> =
                isOneIn(400) ? 500_000_000...3_000_000_000 : 0...2_000_000
            now = Instant(nanoseconds: now.nanoseconds + Int64.random(in: nanoseconds, using: &random))
            if lease.isRequesting {
                if isOneIn(4) { answer() }
            } else if isOneIn(40) {
                let waiting = isOneIn(3) ? Int.random(in: 1...20, using: &random) : 0
                begin { lease, sequence, settings, now, tally in
                    lease.beginRequest(
                        waitingTokens: waiting, sequence: sequence, sizing: DemandSizing(), settings: settings,
                        now: now,
                        tally: &tally)
                }
            } else if isOneIn(400) {
                begin { lease, sequence, settings, now, tally in
                    lease.returnTokens(
                        sequence: sequence, isForced: false, settings: settings, now: now, tally: &tally)
                }
            } else if isOneIn(400) {
                lease.move(to: PartitionID(UInt16.random(in: 0...3, using: &random)))
            } else if isOneIn(400) {
                let next = try Limit(capacity: Int.random(in: 200...1000, using: &random), refillPerSecond: 400)
                lease.change(to: next, from: limit, tally: &tally)
                limit = next
            }
        }

        private mutating func begin(
            _ ask: (inout Lease, UInt64, LeaseSettings, Instant, inout LeaseTokenTally) -> Lease.Report?
        ) {
            sequence += 1
            guard let ask = ask(&lease, sequence, settings, now, &tally) else { return }
            (reported, askedAt) = (ask.held, lease.latest)
        }

        private mutating func answer() {
            if isOneIn(8) { return lease.fail() }
            let room = max(0, limit.capacity - reported)
            let isPaced = isOneIn(3)
            let grant = Grant(
                tokens: Int.random(in: 0...min(room, 150), using: &random),
                held: isOneIn(4) ? reported / 2 : reported,
                openMicrotokens: Int64.random(in: -1_000_000...150_000_000, using: &random),
                trickleTokens: isPaced ? min(room, 20) : 0, trickleMilliseconds: isPaced && room > 0 ? 30 : 0,
                openRefillMicrotokensPerMillisecond: 100_000, outstanding: 100)
            lease.settle(grant, sentAt: askedAt, settings: settings, now: now, tally: &tally)
        }
    }

    @Test("pays what the long way pays, and leaves the lease as that does, through two hundred thousand random events")
    func agrees() throws {
        var life = Life(limit: limit, settings: settings)
        var reasons: [Reason: Int] = [:]
        var (paid, unclamped) = (0, 0)
        for _ in 0..<200_000 {
            try life.goOn()
            // A thread that stalled is late.
            let late = life.isOneIn(8) ? Int64.random(in: 0...2_000_000, using: &life.random) : 0
            let now = Instant(nanoseconds: life.now.nanoseconds - late)
            let cost = UInt32.random(in: life.isOneIn(20) ? 0...60 : 0...2, using: &life.random)
            let reason = reason(life.lease, cost: cost, now: now)
            var (short, long) = (life.lease, life.lease)
            let isMade = short.rest.spendHot(cost: cost, now: now)
            #expect(isMade == (reason == nil), "\(String(describing: reason))")
            let inTheEnd = long.spend(
                cost: cost, clockDriftPerMille: settings.clockDriftPerMille, now: now, tally: &life.tally)
            if isMade {
                paid += 1
                #expect(inTheEnd.isMade)
                let (one, other) = (short.payment.decision(at: now), inTheEnd.decision(at: long.latest))
                #expect(one == other && one.remaining == other.remaining)
                if one.balanceMicrotokens < life.limit.capacityMicrotokens { unclamped += 1 }
                // What the store said has been left behind, and comes to the same.
                var carried = short
                carried.advance(clockDriftPerMille: settings.clockDriftPerMille, now: now, tally: &life.tally)
                #expect(fingerprint(carried) == fingerprint(long))
                life.lease = short
            } else {
                if let reason { reasons[reason, default: 0] += 1 }
                #expect(fingerprint(short) == fingerprint(life.lease), "it has changed nothing")
                life.lease = long
            }
        }
        #expect(paid > 20_000 && unclamped > 10_000, "\(paid) paid at once, \(unclamped) with room left in the bucket")
        for reason in Reason.allCases { #expect(reasons[reason, default: 0] >= 100, "\(reason): \(reasons)") }
    }

    private let start = Instant(milliseconds: 10_000)

    /// A lease that holds so many tokens, granted at the start, when the store had none left.
    private func lease(holding tokens: Int) -> Lease {
        var tally = LeaseTokenTally()
        var lease = Lease(limit: limit, now: start)
        _ = lease.beginRequest(
            waitingTokens: 0, sequence: 1, sizing: DemandSizing(), settings: settings, now: start, tally: &tally)
        lease.settle(
            .plain(tokens, openMicrotokens: 0, limit: limit), sentAt: start, settings: settings, now: start,
            tally: &tally)
        // The first one after an answer goes the long way.
        let isAtOnce = lease.rest.spendHot(cost: 0, now: start)
        let payment = lease.spend(
            cost: 0, clockDriftPerMille: settings.clockDriftPerMille, now: start, tally: &tally)
        #expect(!isAtOnce && payment.isMade)
        return lease
    }

    @Test("ends with the lease, to the millisecond")
    func ends() {
        let lease = lease(holding: 10)
        let end = settings.expiry(sentAt: start)
        for (offset, isMade) in [(-1, true), (0, false), (1, false)] {
            var copy = lease
            let now = end.advanced(byMilliseconds: Int64(offset))
            let isPaid = copy.rest.spendHot(cost: 1, now: now)
            #expect(isPaid == isMade)
        }
        var copy = lease
        let isOverdrawn = copy.rest.spendHot(cost: 11, now: start)
        #expect(!isOverdrawn)
    }

    @Test("tells what is left as the refill goes on, however long ago the store was asked")
    func balance() {
        var lease = lease(holding: 100)
        for (milliseconds, remaining) in [(0, 99), (1, 98), (10, 101), (1000, 496)] {
            let now = start.advanced(byMilliseconds: Int64(milliseconds))
            let isPaid = lease.rest.spendHot(cost: 1, now: now)
            #expect(isPaid)
            #expect(lease.payment.decision(at: now).remaining == remaining)
        }
    }
}
