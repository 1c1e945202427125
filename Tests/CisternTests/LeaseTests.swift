import CisternTesting
import Testing

@testable import Cistern

@Suite("The lease of one organization")
struct LeaseTests {
    private let settings = LeaseSettings()
    private let token = Limit.microtokensPerToken
    private let start = Instant(milliseconds: 10_000)

    /// A lease with `tokens` of a large limit, granted at the start.
    private func lease(holding tokens: Int, balance: Int = 0) throws -> Subject<Lease> {
        let limit = try Limit(capacity: 1000, refillPerSecond: 1000)
        let lease = Subject(Lease(limit: limit, now: start))
        var tally = LeaseTokenTally()
        _ = ask(lease, waiting: tokens, sequence: 1, now: start, tally: &tally)
        settle(lease, .plain(tokens, openMicrotokens: Int64(balance) * token, limit: limit), tally: &tally)
        return lease
    }

    private func ask(
        _ lease: Subject<Lease>, waiting: Int, sequence: UInt64, now: Instant, tally: inout LeaseTokenTally
    ) -> Lease.Report {
        lease {
            $0.beginRequest(
                waitingTokens: waiting, sequence: sequence, sizing: DemandSizing(), settings: settings, now: now,
                tally: &tally)
        }
    }

    private func settle(
        _ lease: Subject<Lease>, _ grant: Grant, now: Instant? = nil, tally: inout LeaseTokenTally
    ) {
        lease { $0.settle(grant, sentAt: start, settings: settings, now: now ?? start, tally: &tally) }
    }

    private func spend(
        _ lease: Subject<Lease>, _ tokens: Int, now: Instant, tally: inout LeaseTokenTally
    ) -> Decision? {
        lease { $0.decide(costMicrotokens: Int64(tokens) * token, settings: settings, now: now, tally: &tally) }
    }

    @Test("spends what it holds without asking")
    func spends() throws {
        let lease = try lease(holding: 3)
        var tally = LeaseTokenTally()
        for left in [2, 1, 0] {
            let decision = lease { $0.decide(costMicrotokens: token, settings: settings, now: start, tally: &tally) }
            #expect(decision?.outcome == .allowed)
            #expect(decision?.remaining == left)
        }
        #expect(tally.spent == 3)
    }

    @Test("that runs out asks, and denies only what the store has said it cannot pay")
    func asksBeforeDenying() throws {
        let lease = try lease(holding: 1, balance: 500)
        var tally = LeaseTokenTally()
        #expect(
            lease { $0.decide(costMicrotokens: token, settings: settings, now: start, tally: &tally) }?.isAllowed
                == true)
        #expect(lease { $0.decide(costMicrotokens: token, settings: settings, now: start, tally: &tally) } == nil)

        let empty = try self.lease(holding: 1, balance: 0)
        #expect(
            empty { $0.decide(costMicrotokens: token, settings: settings, now: start, tally: &tally) }?.isAllowed
                == true)
        let denied = empty { $0.decide(costMicrotokens: token, settings: settings, now: start, tally: &tally) }
        #expect(denied?.outcome == .denied)
        // A millisecond, and what roundings and the drift of two clocks may add.
        #expect(denied?.retryAfterMilliseconds == 4)
        // A millisecond later the store could pay: only it can tell.
        #expect(
            empty {
                $0.decide(
                    costMicrotokens: token, settings: settings, now: start.advanced(byMilliseconds: 1), tally: &tally)
            } == nil)
    }

    @Test("lapses before the store's record of it can, counted from when it was asked for")
    func lapsesEarly() throws {
        let lease = try lease(holding: 5, balance: 500)
        var tally = LeaseTokenTally()
        let last = start.advanced(byMilliseconds: 1959)
        #expect(
            lease { $0.decide(costMicrotokens: token, settings: settings, now: last, tally: &tally) }?.isAllowed == true
        )
        let tooLate = start.advanced(byMilliseconds: 1960)
        #expect(lease { $0.decide(costMicrotokens: token, settings: settings, now: tooLate, tally: &tally) } == nil)
        #expect(lease { $0.held } == 0)
        #expect(tally.expired == 4)
    }

    @Test("reports how long it has spent nothing, and never more than has surely passed")
    func reportsQuiet() throws {
        let lease = try lease(holding: 5)
        var tally = LeaseTokenTally()
        _ = lease {
            $0.decide(
                costMicrotokens: 2 * token, settings: settings, now: start.advanced(byMilliseconds: 100), tally: &tally)
        }
        let ask = ask(
            lease, waiting: 4, sequence: 2, now: start.advanced(byMilliseconds: 1100), tally: &tally)
        #expect(ask.held == 3)
        #expect(ask.unspentMilliseconds == 979)
    }

    @Test("sets aside what it holds for those that wait, and gets it back where no answer comes")
    func reserves() throws {
        let lease = try lease(holding: 3, balance: 500)
        var tally = LeaseTokenTally()
        let ask = ask(lease, waiting: 5, sequence: 2, now: start, tally: &tally)
        #expect(ask.held == 3)
        #expect(lease { $0.decide(costMicrotokens: token, settings: settings, now: start, tally: &tally) } == nil)
        lease { $0.fail() }
        #expect(lease { $0.held } == 3)
        #expect(
            lease { $0.decide(costMicrotokens: token, settings: settings, now: start, tally: &tally) }?.isAllowed
                == true)
    }

    @Test("forgets tokens that the store has forgotten")
    func forgets() throws {
        let lease = try lease(holding: 5)
        var tally = LeaseTokenTally()
        _ = ask(lease, waiting: 6, sequence: 2, now: start, tally: &tally)
        settle(lease, .plain(1, held: 2), tally: &tally)
        #expect(lease { $0.held } == 3)
        #expect(tally.expired == 3)
    }

    @Test("dates its last spend by the latest clock, whichever thread took the lock last")
    func spendsOutOfOrder() throws {
        let lease = try lease(holding: 51)
        var tally = LeaseTokenTally()
        let later = start.advanced(byMilliseconds: 50)
        _ = lease { $0.decide(costMicrotokens: 50 * token, settings: settings, now: later, tally: &tally) }
        _ = lease { $0.decide(costMicrotokens: token, settings: settings, now: start, tally: &tally) }
        let ask = ask(lease, waiting: 1, sequence: 2, now: later, tally: &tally)
        #expect(ask.unspentMilliseconds == 0)
    }

    @Test("decides for the latest instant it has seen: a thread that stalled spends no token of before it was granted")
    func decidesForTheLatest() throws {
        let lease = try lease(holding: 0)
        var tally = LeaseTokenTally()
        let stalled = start.advanced(byMilliseconds: 1)
        let later = start.advanced(byMilliseconds: 20)
        _ = ask(lease, waiting: 0, sequence: 2, now: later, tally: &tally)
        lease { $0.settle(.plain(5), sentAt: later, settings: settings, now: later, tally: &tally) }
        #expect(spend(lease, 1, now: stalled, tally: &tally)?.decidedAt == later)
    }

    @Test("lapses no later than the record, however the margin comes out in milliseconds")
    func roundsTheMarginUp() {
        var settings = LeaseSettings()
        for (duration, drift, lapse) in [(2000, 20, 1960), (130, 20, 127), (1010, 1, 1008), (109, 200, 87)] {
            settings.durationMilliseconds = Int64(duration)
            settings.clockDriftPerMille = Int64(drift)
            #expect(settings.expiry(sentAt: start) == start.advanced(byMilliseconds: Int64(lapse)))
        }
    }

    @Test("has spent tokens taken off the record where they would keep refill out, and else leaves them to lapse")
    func reportsWhatIsSpent() throws {
        let limit = try Limit(capacity: 100, refillPerSecond: 10)
        for (open, outstanding, isReported) in [(4, 96, true), (50, 20, false), (95, 5, false), (80, 10, true)] {
            let lease = Subject(Lease(limit: limit, now: start))
            var tally = LeaseTokenTally()
            _ = ask(lease, waiting: 6, sequence: 1, now: start, tally: &tally)
            var grant = Grant.plain(6, openMicrotokens: Int64(open) * token, limit: limit)
            grant.outstanding = outstanding
            settle(lease, grant, tally: &tally)
            _ = spend(lease, 6, now: start, tally: &tally)
            let ask = lease {
                $0.returnTokens(sequence: 2, isForced: false, settings: settings, now: start, tally: &tally)
            }
            #expect((ask != nil) == isReported, "\(open) open, \(outstanding) outstanding")
        }
    }

    @Test("takes the store's word for a denial no longer than a lease lasts: others may have given back since")
    func asksAgain() throws {
        let slow = try Limit(capacity: 10, refillPerSecond: 0.001)
        let lease = Subject(Lease(limit: slow, now: start))
        var tally = LeaseTokenTally()
        _ = ask(lease, waiting: 1, sequence: 1, now: start, tally: &tally)
        settle(lease, .plain(0, limit: slow), tally: &tally)
        let soon = start.advanced(byMilliseconds: 1959)
        #expect(
            lease { $0.decide(costMicrotokens: token, settings: settings, now: soon, tally: &tally) }?.outcome
                == .denied)
        let later = start.advanced(byMilliseconds: 1960)
        #expect(lease { $0.decide(costMicrotokens: token, settings: settings, now: later, tally: &tally) } == nil)
    }

    @Test("gives back what it holds, once")
    func givesBack() throws {
        let lease = try lease(holding: 5)
        var tally = LeaseTokenTally()
        let ask = lease { $0.returnTokens(sequence: 2, isForced: false, settings: settings, now: start, tally: &tally) }
        #expect(ask?.returned == 5)
        #expect(ask?.held == 0)
        #expect(lease { $0.held } == 0)
        #expect(tally.returned == 5)
        settle(lease, .plain(0), tally: &tally)
        #expect(
            lease { $0.returnTokens(sequence: 3, isForced: false, settings: settings, now: start, tally: &tally) }
                == nil)
    }

    @Test("hands out paced tokens as they come, counted from the answer, on the slowest clock that may be")
    func paces() throws {
        // One token was granted before this tally began.
        let lease = try lease(holding: 1)
        var tally = LeaseTokenTally()
        _ = ask(lease, waiting: 3, sequence: 2, now: start, tally: &tally)
        let grant = Grant(
            tokens: 2, held: 1, openMicrotokens: 0, trickleTokens: 100, trickleMilliseconds: 200,
            openRefillMicrotokensPerMillisecond: 0, outstanding: 103)
        let arrival = start.advanced(byMilliseconds: 30)
        settle(lease, grant, now: arrival, tally: &tally)
        #expect(tally.granted == 102)
        #expect(spend(lease, 3, now: arrival, tally: &tally)?.outcome == .allowed)
        // Half a token comes in a millisecond. After 22 of them two less two hundredths have surely passed.
        let denied = spend(lease, 10, now: arrival.advanced(byMilliseconds: 22), tally: &tally)
        #expect(denied?.outcome == .denied && denied?.remaining == 0)
        #expect(lease { $0.held } == 9)
        #expect(spend(lease, 10, now: arrival.advanced(byMilliseconds: 23), tally: &tally)?.outcome == .allowed)
        // Whatever has not come goes back with the next request, and nothing more comes meanwhile.
        let ask = ask(
            lease, waiting: 0, sequence: 3, now: arrival.advanced(byMilliseconds: 124), tally: &tally)
        #expect(ask.held == 49 && ask.returned == 41)
        let late = arrival.advanced(byMilliseconds: 190)
        #expect(spend(lease, 49, now: late, tally: &tally)?.outcome == .allowed)
        #expect(spend(lease, 1, now: late, tally: &tally) == nil)
        #expect(tally.granted + 1 == tally.spent + tally.returned)
    }

    /// A lease held ahead of a demand of 1000 tokens a second, just granted.
    private func leaseAhead(tally: inout LeaseTokenTally) throws -> (lease: Subject<Lease>, now: Instant) {
        let lease = try lease(holding: 1, balance: 500)
        var now = start
        for sequence in 2...6 {
            // A hundred tokens each hundred milliseconds.
            now = now.advanced(byMilliseconds: 100)
            _ = ask(lease, waiting: 100, sequence: UInt64(sequence), now: now, tally: &tally)
            let grant = Grant.plain(200, openMicrotokens: 500 * token, limit: lease { $0.limit })
            lease { $0.settle(grant, sentAt: now, settings: settings, now: now, tally: &tally) }
            _ = spend(lease, lease { $0.held }, now: now, tally: &tally)
        }
        let ahead = ask(lease, waiting: 1, sequence: 7, now: now, tally: &tally)
        #expect((100...250).contains(ahead.requested.ahead))
        let grant = Grant.plain(101, openMicrotokens: 500 * token, limit: lease { $0.limit })
        lease { $0.settle(grant, sentAt: now, settings: settings, now: now, tally: &tally) }
        return (lease, now)
    }

    @Test("is renewed before it runs dry, and goes on spending until the answer comes")
    func renews() throws {
        var tally = LeaseTokenTally()
        let (lease, now) = try leaseAhead(tally: &tally)
        _ = spend(lease, 50, now: now, tally: &tally)
        #expect(!lease { $0.isRunningDry(now: now) })
        _ = spend(lease, 20, now: now, tally: &tally)
        #expect(lease { $0.isRunningDry(now: now) })
        let renewal = ask(lease, waiting: 0, sequence: 8, now: now, tally: &tally)
        #expect(renewal.held == 31)
        #expect(spend(lease, 5, now: now, tally: &tally)?.outcome == .allowed)
        lease { $0.settle(.plain(100, held: 31), sentAt: now, settings: settings, now: now, tally: &tally) }
        #expect(lease { $0.held } == 126)
    }

    @Test("is not renewed for the time that has passed once a request has failed, or its bucket is another one")
    func forgetsRenewal() throws {
        for fails in [true, false] {
            var tally = LeaseTokenTally()
            let (lease, now) = try leaseAhead(tally: &tally)
            let late = now.advanced(byMilliseconds: settings.durationMilliseconds * 7 / 8)
            let end = lease { $0.expiresAt }
            #expect(lease { $0.fastPathDeadline } < late && late < end)
            #expect(lease { $0.isRunningDry(now: late) })
            if fails {
                _ = ask(lease, waiting: 0, sequence: 8, now: now, tally: &tally)
                #expect(lease { $0.fastPathDeadline } == end)
                lease { $0.fail() }
            } else {
                lease { $0.move(to: PartitionID(7)) }
            }
            #expect(lease { $0.fastPathDeadline } == end && lease { $0.expiresAt } == end)
            #expect(!lease { $0.isRunningDry(now: late) })
        }
    }

    @Test("says how much of it had been spent early on, so that the store can make good what spilled since")
    func reportsEarly() throws {
        let lease = try lease(holding: 10)
        var tally = LeaseTokenTally()
        for step in 1...8 {
            _ = spend(lease, 1, now: start.advanced(byMilliseconds: Int64(step) * 100), tally: &tally)
        }
        let ask = ask(lease, waiting: 3, sequence: 2, now: start.advanced(byMilliseconds: 1500), tally: &tally)
        #expect(ask.halfSpentTokens == 5 && ask.halfSpentMilliseconds == 979)
        #expect(ask.unspentMilliseconds == 685)
    }
}
