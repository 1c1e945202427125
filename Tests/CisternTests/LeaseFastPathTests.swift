import CisternSupport
import CisternTesting
import Testing

@testable import Cistern

@Suite("The fast path of a lease")
struct LeaseFastPathTests {
    private let limit: Limit
    private let settings: LeaseSettings

    init() throws {
        limit = try Limit(capacity: 1000, refillPerSecond: 400)
        var settings = LeaseSettings()
        settings.prefetchMilliseconds = 20
        self.settings = settings
    }

    /// Why the fast path does not pay a request.
    private enum Reason: CaseIterable {
        case stalledThread, tooFewTokens, runningDry, halfSpentTokens, requesting, trickleTokens, renewedByTime, lapsed,
            noPaymentSinceEstimate
    }

    private func reason(_ lease: LeaseState, cost: Int, now: Instant) -> Reason? {
        if now < lease.latestSeenAt { return .stalledThread }
        guard case .settled(let terms) = lease.phase else { return .requesting }
        if terms.trickle.remainingTokens > 0 { return .trickleTokens }
        if now >= lease.expiresAt { return .lapsed }
        if let renewAt = lease.renewAt, now >= renewAt { return .renewedByTime }
        if cost > lease.heldTokens { return .tooFewTokens }
        if lease.heldTokens - cost < terms.renewBelow { return .runningDry }
        if lease.lastSpentAt < lease.estimate.asOf { return .noPaymentSinceEstimate }
        guard case .pending(let threshold) = terms.halfSpent else { return nil }
        return lease.spentTokens + cost >= threshold ? .halfSpentTokens : nil
    }

    /// A lease under random events: store requests, replies, failures, changes of limit and partition, and time.
    private struct RandomLease {
        let settings: LeaseSettings
        var random = SeededRandom(seed: 11)
        var now = Instant(milliseconds: 10_000)
        var tally = LeaseTokenTally()
        var limit: Limit
        var lease: LeaseState
        private var sequence: UInt64 = 0
        private var (reported, askedAt) = (0, Instant(milliseconds: 0))

        init(limit: Limit, settings: LeaseSettings) {
            self.limit = limit
            self.settings = settings
            lease = LeaseState(limit: limit, now: now)
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
            _ ask: (inout LeaseState, UInt64, LeaseSettings, Instant, inout LeaseTokenTally) -> LeaseState.Report?
        ) {
            sequence += 1
            guard let ask = ask(&lease, sequence, settings, now, &tally) else { return }
            (reported, askedAt) = (ask.held, lease.latestSeenAt)
        }

        private mutating func answer() {
            if isOneIn(8) || now >= settings.expiry(sentAt: askedAt) { return lease.fail() }
            let room = max(0, limit.capacity - reported)
            let hasTrickle = isOneIn(3)
            let grant = Grant(
                tokens: Int.random(in: 0...min(room, 150), using: &random),
                held: isOneIn(4) ? reported / 2 : reported,
                openUnits: Int64.random(in: -1_000_000...150_000_000, using: &random),
                trickleTokens: hasTrickle ? min(room, 20) : 0, trickleMilliseconds: hasTrickle && room > 0 ? 30 : 0,
                openRefillUnitsPerMillisecond: 100_000, outstanding: 100)
            lease.settle(grant, sentAt: askedAt, settings: settings, now: now, tally: &tally)
        }
    }

    @Test("the fast path pays and changes a lease exactly as the slow path does, over 200,000 random events")
    func agrees() throws {
        var life = RandomLease(limit: limit, settings: settings)
        var reasons: [Reason: Int] = [:]
        var (paid, unclamped) = (0, 0)
        for _ in 0..<200_000 {
            try life.goOn()
            // A stalled thread decides for an earlier instant.
            let late = life.isOneIn(8) ? Int64.random(in: 0...2_000_000, using: &life.random) : 0
            let now = Instant(nanoseconds: life.now.nanoseconds - late)
            let cost = Int.random(in: life.isOneIn(20) ? 0...60 : 0...2, using: &life.random)
            let reason = reason(life.lease, cost: cost, now: now)
            let packed = PackedLease(life.lease)
            #expect(packed.state == life.lease, "packing loses nothing")
            var (fast, slow) = (packed, life.lease)
            let isPaid = fast.hot.spend(cost: UInt32(cost), now: now)
            #expect(isPaid == (reason == nil), "\(String(describing: reason))")
            let decision = slow.decide(cost: cost, settings: settings, now: now, tally: &life.tally)
            if isPaid {
                paid += 1
                let one = fast.decision(at: now)
                let other = try #require(decision)
                #expect(one == other && one.remaining == other.remaining)
                if one.balanceUnits < life.limit.capacityUnits { unclamped += 1 }
                // The fast path does not advance the estimate. Advancing it now must give the slow path's state.
                var carried = fast.state
                carried.advance(clockDriftPerMille: settings.clockDriftPerMille, now: now, tally: &life.tally)
                #expect(carried == slow)
                life.lease = fast.state
            } else {
                if let reason { reasons[reason, default: 0] += 1 }
                #expect(fast.state == life.lease, "the fast path has changed nothing")
                life.lease = slow
            }
        }
        #expect(paid > 20_000 && unclamped > 10_000, "\(paid) paid fast, \(unclamped) with a balance below capacity")
        for reason in Reason.allCases { #expect(reasons[reason, default: 0] >= 100, "\(reason): \(reasons)") }
    }

    private let start = Instant(milliseconds: 10_000)

    /// A lease that holds `tokens`, granted at the start by a store whose bucket was then empty.
    private func lease(holding tokens: Int) -> PackedLease {
        var tally = LeaseTokenTally()
        var lease = LeaseState(limit: limit, now: start)
        _ = lease.beginRequest(
            waitingTokens: 0, sequence: 1, sizing: DemandSizing(), settings: settings, now: start, tally: &tally)
        lease.settle(
            .plain(tokens, openUnits: 0, limit: limit), sentAt: start, settings: settings, now: start,
            tally: &tally)
        // The first payment after a reply takes the slow path.
        var packed = PackedLease(lease)
        let isPaid = packed.hot.spend(cost: 0, now: start)
        let decision = lease.decide(cost: 0, settings: settings, now: start, tally: &tally)
        #expect(!isPaid && decision?.isAllowed == true)
        return PackedLease(lease)
    }

    @Test("the fast path ends with the lease, to the millisecond, and never overdraws it")
    func ends() {
        let lease = lease(holding: 10)
        let end = settings.expiry(sentAt: start)
        for (offset, isMade) in [(-1, true), (0, false), (1, false)] {
            var copy = lease
            let now = end.advanced(byMilliseconds: Int64(offset))
            let isPaid = copy.hot.spend(cost: 1, now: now)
            #expect(isPaid == isMade)
        }
        var copy = lease
        let isOverdrawn = copy.hot.spend(cost: 11, now: start)
        #expect(!isOverdrawn)
    }

    @Test("the fast path's remaining balance includes the refill since the store's last reply")
    func balance() {
        var lease = lease(holding: 100)
        for (milliseconds, remaining) in [(0, 99), (1, 98), (10, 101), (1000, 496)] {
            let now = start.advanced(byMilliseconds: Int64(milliseconds))
            let isPaid = lease.hot.spend(cost: 1, now: now)
            #expect(isPaid)
            #expect(lease.decision(at: now).remaining == remaining)
        }
    }
}
