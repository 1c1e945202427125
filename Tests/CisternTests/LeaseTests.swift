import CisternTesting
import Testing

@testable import Cistern

@Suite("The lease of one key")
struct LeaseTests {
    private let settings = LeaseSettings()
    private let token = Limit.standardUnitsPerToken
    private let start = Instant(milliseconds: 10_000)

    /// A lease with `tokens` of a large limit, granted at the start.
    private func lease(holding tokens: Int, balance: Int = 0) throws -> Subject<LeaseState> {
        let limit = try Limit(capacity: 1000, refillPerSecond: 1000)
        let lease = Subject(LeaseState(limit: limit, now: start))
        var tally = LeaseTokenTally()
        _ = ask(lease, waiting: tokens, sequence: 1, now: start, tally: &tally)
        settle(lease, .plain(tokens, openUnits: Int64(balance) * token, limit: limit), tally: &tally)
        return lease
    }

    private func ask(
        _ lease: Subject<LeaseState>, waiting: Int, sequence: UInt64, now: Instant, tally: inout LeaseTokenTally
    ) -> LeaseState.Report {
        lease {
            $0.beginRequest(
                waitingTokens: waiting, sequence: sequence, sizing: DemandSizing(), settings: settings, now: now,
                tally: &tally)
        }
    }

    private func settle(
        _ lease: Subject<LeaseState>, _ grant: Grant, now: Instant? = nil, tally: inout LeaseTokenTally
    ) {
        lease { $0.settle(grant, sentAt: start, settings: settings, now: now ?? start, tally: &tally) }
    }

    private func spend(
        _ lease: Subject<LeaseState>, _ tokens: Int, now: Instant, tally: inout LeaseTokenTally
    ) -> Decision? {
        lease { $0.decide(cost: tokens, settings: settings, now: now, tally: &tally) }
    }

    @Test("a lease spends its tokens without a store request")
    func spends() throws {
        let lease = try lease(holding: 3)
        var tally = LeaseTokenTally()
        for left in [2, 1, 0] {
            let decision = lease { $0.decide(cost: 1, settings: settings, now: start, tally: &tally) }
            #expect(decision?.outcome == .allowed)
            #expect(decision?.remaining == left)
        }
        #expect(tally.spent == 3)
    }

    @Test("an empty lease asks the store, and denies only while the store's last balance cannot pay")
    func asksBeforeDenying() throws {
        let lease = try lease(holding: 1, balance: 500)
        var tally = LeaseTokenTally()
        #expect(
            lease { $0.decide(cost: 1, settings: settings, now: start, tally: &tally) }?.isAllowed
                == true)
        #expect(lease { $0.decide(cost: 1, settings: settings, now: start, tally: &tally) } == nil)

        let empty = try self.lease(holding: 1, balance: 0)
        #expect(
            empty { $0.decide(cost: 1, settings: settings, now: start, tally: &tally) }?.isAllowed
                == true)
        let denied = empty { $0.decide(cost: 1, settings: settings, now: start, tally: &tally) }
        #expect(denied?.outcome == .denied)
        // 1 ms, plus an allowance for rounding and for the drift of two clocks.
        #expect(denied?.retryAfterMilliseconds == 4)
        // After 1 ms the store may be able to pay, so the lease must ask.
        #expect(
            empty {
                $0.decide(
                    cost: 1, settings: settings, now: start.advanced(byMilliseconds: 1), tally: &tally)
            } == nil)
    }

    @Test("a lease expires before its record at the store, counted from when the request was sent")
    func lapsesEarly() throws {
        let lease = try lease(holding: 5, balance: 500)
        var tally = LeaseTokenTally()
        let last = start.advanced(byMilliseconds: 1959)
        #expect(
            lease { $0.decide(cost: 1, settings: settings, now: last, tally: &tally) }?.isAllowed == true
        )
        let tooLate = start.advanced(byMilliseconds: 1960)
        #expect(lease { $0.decide(cost: 1, settings: settings, now: tooLate, tally: &tally) } == nil)
        #expect(lease { $0.heldTokens } == 0)
        #expect(tally.expired == 4)
    }

    @Test("a lease reports how long it has spent nothing, and never overstates it")
    func reportsQuiet() throws {
        let lease = try lease(holding: 5)
        var tally = LeaseTokenTally()
        _ = lease {
            $0.decide(
                cost: 2, settings: settings, now: start.advanced(byMilliseconds: 100), tally: &tally)
        }
        let ask = ask(
            lease, waiting: 4, sequence: 2, now: start.advanced(byMilliseconds: 1100), tally: &tally)
        #expect(ask.held == 3)
        #expect(ask.millisecondsSinceLastSpend == 979)
    }

    @Test("held tokens are reserved for waiting requests, and released if the store request fails")
    func reserves() throws {
        let lease = try lease(holding: 3, balance: 500)
        var tally = LeaseTokenTally()
        let ask = ask(lease, waiting: 5, sequence: 2, now: start, tally: &tally)
        #expect(ask.held == 3)
        #expect(lease { $0.decide(cost: 1, settings: settings, now: start, tally: &tally) } == nil)
        lease { $0.fail() }
        #expect(lease { $0.heldTokens } == 3)
        #expect(
            lease { $0.decide(cost: 1, settings: settings, now: start, tally: &tally) }?.isAllowed
                == true)
    }

    @Test("a lease drops the tokens that have expired at the store")
    func forgets() throws {
        let lease = try lease(holding: 5)
        var tally = LeaseTokenTally()
        _ = ask(lease, waiting: 6, sequence: 2, now: start, tally: &tally)
        settle(lease, .plain(1, held: 2), tally: &tally)
        #expect(lease { $0.heldTokens } == 3)
        #expect(tally.expired == 3)
    }

    @Test("the time of the last payment is the latest of all threads' instants")
    func spendsOutOfOrder() throws {
        let lease = try lease(holding: 51)
        var tally = LeaseTokenTally()
        let later = start.advanced(byMilliseconds: 50)
        _ = lease { $0.decide(cost: 50, settings: settings, now: later, tally: &tally) }
        _ = lease { $0.decide(cost: 1, settings: settings, now: start, tally: &tally) }
        let ask = ask(lease, waiting: 1, sequence: 2, now: later, tally: &tally)
        #expect(ask.millisecondsSinceLastSpend == 0)
    }

    @Test("a stalled thread decides for the latest instant seen, so no token is spent before its grant")
    func decidesForTheLatest() throws {
        let lease = try lease(holding: 0)
        var tally = LeaseTokenTally()
        let stalled = start.advanced(byMilliseconds: 1)
        let later = start.advanced(byMilliseconds: 20)
        _ = ask(lease, waiting: 0, sequence: 2, now: later, tally: &tally)
        lease { $0.settle(.plain(5), sentAt: later, settings: settings, now: later, tally: &tally) }
        #expect(spend(lease, 1, now: stalled, tally: &tally)?.decidedAt == later)
    }

    @Test("the drift margin is rounded up to milliseconds, so a lease never outlives its record")
    func roundsTheMarginUp() {
        var settings = LeaseSettings()
        for (duration, drift, lapse) in [(2000, 20, 1960), (130, 20, 127), (1010, 1, 1008), (109, 200, 87)] {
            settings.durationMilliseconds = Int64(duration)
            settings.clockDriftPerMille = Int64(drift)
            #expect(settings.expiry(sentAt: start) == start.advanced(byMilliseconds: Int64(lapse)))
        }
    }

    @Test("spent tokens are reported if their record would block refill, and otherwise left to expire")
    func reportsWhatIsSpent() throws {
        let limit = try Limit(capacity: 100, refillPerSecond: 10)
        for (open, outstanding, isReported) in [(4, 96, true), (50, 20, false), (95, 5, false), (80, 10, true)] {
            let lease = Subject(LeaseState(limit: limit, now: start))
            var tally = LeaseTokenTally()
            _ = ask(lease, waiting: 6, sequence: 1, now: start, tally: &tally)
            var grant = Grant.plain(6, openUnits: Int64(open) * token, limit: limit)
            grant.outstanding = outstanding
            settle(lease, grant, tally: &tally)
            _ = spend(lease, 6, now: start, tally: &tally)
            let ask = lease {
                $0.returnTokens(sequence: 2, isForced: false, settings: settings, now: start, tally: &tally)
            }
            #expect((ask != nil) == isReported, "\(open) open, \(outstanding) outstanding")
        }
    }

    @Test("a lease denies from memory no longer than its duration, because other servers may return tokens")
    func asksAgain() throws {
        let slow = try Limit(capacity: 10, refillPerSecond: 0.001)
        let lease = Subject(LeaseState(limit: slow, now: start))
        var tally = LeaseTokenTally()
        _ = ask(lease, waiting: 1, sequence: 1, now: start, tally: &tally)
        settle(lease, .plain(0, limit: slow), tally: &tally)
        let soon = start.advanced(byMilliseconds: 1959)
        #expect(
            lease { $0.decide(cost: 1, settings: settings, now: soon, tally: &tally) }?.outcome
                == .denied)
        let later = start.advanced(byMilliseconds: 1960)
        #expect(lease { $0.decide(cost: 1, settings: settings, now: later, tally: &tally) } == nil)
    }

    @Test("a lease returns its tokens once")
    func givesBack() throws {
        let lease = try lease(holding: 5)
        var tally = LeaseTokenTally()
        let ask = lease { $0.returnTokens(sequence: 2, isForced: false, settings: settings, now: start, tally: &tally) }
        #expect(ask?.returned == 5)
        #expect(ask?.held == 0)
        #expect(lease { $0.heldTokens } == 0)
        #expect(tally.returned == 5)
        settle(lease, .plain(0), tally: &tally)
        #expect(
            lease { $0.returnTokens(sequence: 3, isForced: false, settings: settings, now: start, tally: &tally) }
                == nil)
    }

    @Test("trickle tokens become available from the reply on, at the rate of the slowest clock within the margin")
    func trickleGrants() throws {
        // One token was granted before this tally began.
        let lease = try lease(holding: 1)
        var tally = LeaseTokenTally()
        _ = ask(lease, waiting: 3, sequence: 2, now: start, tally: &tally)
        let grant = Grant(
            tokens: 2, held: 1, openUnits: 0, trickleTokens: 100, trickleMilliseconds: 200,
            openRefillUnitsPerMillisecond: 0, outstanding: 103)
        let arrival = start.advanced(byMilliseconds: 30)
        settle(lease, grant, now: arrival, tally: &tally)
        #expect(tally.granted == 102)
        #expect(spend(lease, 3, now: arrival, tally: &tally)?.outcome == .allowed)
        // Half a token arrives per millisecond. Of 22 ms, 19 have surely passed, allowing for drift and rounding.
        let denied = spend(lease, 10, now: arrival.advanced(byMilliseconds: 22), tally: &tally)
        #expect(denied?.outcome == .denied && denied?.remaining == 0)
        #expect(lease { $0.heldTokens } == 9)
        #expect(spend(lease, 10, now: arrival.advanced(byMilliseconds: 23), tally: &tally)?.outcome == .allowed)
        // The next request returns the trickle tokens that have not arrived, and no more arrive meanwhile.
        let ask = ask(
            lease, waiting: 0, sequence: 3, now: arrival.advanced(byMilliseconds: 124), tally: &tally)
        #expect(ask.held == 49 && ask.returned == 41)
        let late = arrival.advanced(byMilliseconds: 190)
        #expect(spend(lease, 49, now: late, tally: &tally)?.outcome == .allowed)
        #expect(spend(lease, 1, now: late, tally: &tally) == nil)
        #expect(tally.granted + 1 == tally.spent + tally.returned)
    }

    /// A lease with prefetch tokens for a demand of 1000 tokens per second, granted a moment ago.
    private func leaseWithPrefetch(tally: inout LeaseTokenTally) throws -> (lease: Subject<LeaseState>, now: Instant) {
        let lease = try lease(holding: 1, balance: 500)
        var now = start
        for sequence in 2...6 {
            // 100 tokens every 100 ms.
            now = now.advanced(byMilliseconds: 100)
            _ = ask(lease, waiting: 100, sequence: UInt64(sequence), now: now, tally: &tally)
            let grant = Grant.plain(200, openUnits: 500 * token, limit: lease { $0.limit })
            lease { $0.settle(grant, sentAt: now, settings: settings, now: now, tally: &tally) }
            _ = spend(lease, lease { $0.heldTokens }, now: now, tally: &tally)
        }
        let prefetchTokens = ask(lease, waiting: 1, sequence: 7, now: now, tally: &tally)
        #expect((100...250).contains(prefetchTokens.requested.prefetchTokens))
        let grant = Grant.plain(101, openUnits: 500 * token, limit: lease { $0.limit })
        lease { $0.settle(grant, sentAt: now, settings: settings, now: now, tally: &tally) }
        return (lease, now)
    }

    @Test("a lease is renewed before it runs dry, and keeps spending until the reply arrives")
    func renews() throws {
        var tally = LeaseTokenTally()
        let (lease, now) = try leaseWithPrefetch(tally: &tally)
        _ = spend(lease, 50, now: now, tally: &tally)
        #expect(!lease { $0.isRunningDry(now: now) })
        _ = spend(lease, 20, now: now, tally: &tally)
        #expect(lease { $0.isRunningDry(now: now) })
        let renewal = ask(lease, waiting: 0, sequence: 8, now: now, tally: &tally)
        #expect(renewal.held == 31)
        #expect(spend(lease, 5, now: now, tally: &tally)?.outcome == .allowed)
        lease { $0.settle(.plain(100, held: 31), sentAt: now, settings: settings, now: now, tally: &tally) }
        #expect(lease { $0.heldTokens } == 126)
    }

    @Test("a failed request or a change of partition cancels the renewal by time")
    func forgetsRenewal() throws {
        for fails in [true, false] {
            var tally = LeaseTokenTally()
            let (lease, now) = try leaseWithPrefetch(tally: &tally)
            let late = now.advanced(byMilliseconds: settings.durationMilliseconds * 7 / 8)
            let end = lease { $0.expiresAt }
            #expect(lease { PackedLease($0).hot.deadline } < late && late < end)
            #expect(lease { $0.isRunningDry(now: late) })
            if fails {
                _ = ask(lease, waiting: 0, sequence: 8, now: now, tally: &tally)
                #expect(lease { PackedLease($0).hot.deadline } == end)
                lease { $0.fail() }
            } else {
                lease { $0.move(to: PartitionID(7)) }
            }
            #expect(lease { PackedLease($0).hot.deadline } == end && lease { $0.expiresAt } == end)
            #expect(!lease { $0.isRunningDry(now: late) })
        }
    }

    @Test("a lease reports when half of it was spent, so that the store can credit overflow since then")
    func reportsEarly() throws {
        let lease = try lease(holding: 10)
        var tally = LeaseTokenTally()
        for step in 1...8 {
            _ = spend(lease, 1, now: start.advanced(byMilliseconds: Int64(step) * 100), tally: &tally)
        }
        let ask = ask(lease, waiting: 3, sequence: 2, now: start.advanced(byMilliseconds: 1500), tally: &tally)
        #expect(ask.halfSpentTokens == 5 && ask.halfSpentMilliseconds == 979)
        #expect(ask.millisecondsSinceLastSpend == 685)
    }
}
