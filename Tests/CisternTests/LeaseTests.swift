import CisternTesting
import Testing

@testable import Cistern

@Suite("The lease of one organisation")
struct LeaseTests {
    private let settings = LeaseSettings()
    private let token = Limit.microtokensPerToken
    private let start = Instant(milliseconds: 10_000)

    /// A lease with `tokens` of a large limit, granted at the start.
    private func lease(holding tokens: Int, balance: Int = 0) throws -> Subject<Lease> {
        var lease = Lease(limit: try Limit(capacity: 1000, refillPerSecond: 1000), now: start)
        var tally = LeaseTokenTally()
        _ = lease.ask(waitingTokens: tokens, sequence: 1, settings: settings, now: start)
        let grant = Grant(tokens: tokens, held: 0, balanceMicrotokens: Int64(balance) * token)
        lease.settle(grant, sentAt: start, settings: settings, tally: &tally)
        return Subject(lease)
    }

    @Test("spends what it holds without asking")
    func spends() throws {
        let lease = try lease(holding: 3)
        var tally = LeaseTokenTally()
        for left in [2, 1, 0] {
            let decision = lease { $0.decide(costMicrotokens: token, now: start, tally: &tally) }
            #expect(decision?.outcome == .allowed)
            #expect(decision?.remaining == left)
        }
        #expect(tally.spent == 3)
    }

    @Test("that runs out asks, and denies only what the store has said it cannot pay")
    func asksBeforeDenying() throws {
        let lease = try lease(holding: 1, balance: 500)
        var tally = LeaseTokenTally()
        #expect(lease { $0.decide(costMicrotokens: token, now: start, tally: &tally) }?.isAllowed == true)
        #expect(lease { $0.decide(costMicrotokens: token, now: start, tally: &tally) } == nil)

        let empty = try self.lease(holding: 1, balance: 0)
        #expect(empty { $0.decide(costMicrotokens: token, now: start, tally: &tally) }?.isAllowed == true)
        let denied = empty { $0.decide(costMicrotokens: token, now: start, tally: &tally) }
        #expect(denied?.outcome == .denied)
        #expect(denied?.retryAfterMilliseconds == 1)
        // A millisecond later the store could pay: only it can tell.
        #expect(
            empty { $0.decide(costMicrotokens: token, now: start.advanced(byMilliseconds: 1), tally: &tally) } == nil)
    }

    @Test("lapses before the store's record of it can, counted from when it was asked for")
    func lapsesEarly() throws {
        let lease = try lease(holding: 5, balance: 500)
        var tally = LeaseTokenTally()
        let last = start.advanced(byMilliseconds: 1959)
        #expect(lease { $0.decide(costMicrotokens: token, now: last, tally: &tally) }?.isAllowed == true)
        let tooLate = start.advanced(byMilliseconds: 1960)
        #expect(lease { $0.decide(costMicrotokens: token, now: tooLate, tally: &tally) } == nil)
        #expect(lease { $0.held } == 0)
        #expect(tally.expired == 4)
    }

    @Test("reports how long it has spent nothing, and never more than has surely passed")
    func reportsQuiet() throws {
        let lease = try lease(holding: 5)
        var tally = LeaseTokenTally()
        _ = lease { $0.decide(costMicrotokens: 2 * token, now: start.advanced(byMilliseconds: 100), tally: &tally) }
        let ask = lease {
            $0.ask(
                waitingTokens: 4, sequence: 2, settings: settings, now: start.advanced(byMilliseconds: 1100))
        }
        #expect(ask.held == 3)
        #expect(ask.quietMilliseconds == 979)
    }

    @Test("sets aside what it holds for those that wait, and gets it back where no answer comes")
    func reserves() throws {
        let lease = try lease(holding: 3, balance: 500)
        var tally = LeaseTokenTally()
        let ask = lease { $0.ask(waitingTokens: 5, sequence: 2, settings: settings, now: start) }
        #expect(ask.held == 3)
        #expect(lease { $0.decide(costMicrotokens: token, now: start, tally: &tally) } == nil)
        lease { $0.fail(now: start) }
        #expect(lease { $0.held } == 3)
        #expect(lease { $0.decide(costMicrotokens: token, now: start, tally: &tally) }?.isAllowed == true)
    }

    @Test("forgets tokens that the store has forgotten")
    func forgets() throws {
        let lease = try lease(holding: 5)
        var tally = LeaseTokenTally()
        _ = lease { $0.ask(waitingTokens: 6, sequence: 2, settings: settings, now: start) }
        let grant = Grant(tokens: 1, held: 2, balanceMicrotokens: 0)
        lease { $0.settle(grant, sentAt: start, settings: settings, tally: &tally) }
        #expect(lease { $0.held } == 3)
        #expect(tally.expired == 3)
    }

    @Test("dates its last spend by the latest clock, whichever thread took the lock last")
    func spendsOutOfOrder() throws {
        let lease = try lease(holding: 51)
        var tally = LeaseTokenTally()
        let later = start.advanced(byMilliseconds: 50)
        _ = lease { $0.decide(costMicrotokens: 50 * token, now: later, tally: &tally) }
        _ = lease { $0.decide(costMicrotokens: token, now: start, tally: &tally) }
        let ask = lease { $0.ask(waitingTokens: 1, sequence: 2, settings: settings, now: later) }
        #expect(ask.quietMilliseconds == 0)
    }

    @Test("takes the store's word for a denial no longer than a lease lasts: others may have given back since")
    func asksAgain() throws {
        let slow = try Limit(capacity: 10, refillPerSecond: 0.001)
        let lease = Subject(Lease(limit: slow, now: start))
        var tally = LeaseTokenTally()
        _ = lease { $0.ask(waitingTokens: 1, sequence: 1, settings: settings, now: start) }
        let grant = Grant(tokens: 0, held: 0, balanceMicrotokens: 0)
        lease { $0.settle(grant, sentAt: start, settings: settings, tally: &tally) }
        let soon = start.advanced(byMilliseconds: 1959)
        #expect(lease { $0.decide(costMicrotokens: token, now: soon, tally: &tally) }?.outcome == .denied)
        let later = start.advanced(byMilliseconds: 1960)
        #expect(lease { $0.decide(costMicrotokens: token, now: later, tally: &tally) } == nil)
    }

    @Test("gives back what it holds, once")
    func givesBack() throws {
        let lease = try lease(holding: 5)
        var tally = LeaseTokenTally()
        let ask = lease { $0.giveBack(sequence: 2, settings: settings, now: start, tally: &tally) }
        #expect(ask?.returned == 5)
        #expect(ask?.held == 0)
        #expect(lease { $0.held } == 0)
        #expect(tally.returned == 5)
        lease {
            $0.settle(
                Grant(tokens: 0, held: 0, balanceMicrotokens: 0), sentAt: start, settings: settings,
                tally: &tally)
        }
        #expect(lease { $0.giveBack(sequence: 3, settings: settings, now: start, tally: &tally) } == nil)
    }

    @Test("leases ahead for steady demand, never faster than the bucket refills, and not for a slow organisation")
    func sizes() throws {
        var demand = Demand(now: start)
        var now = start
        for _ in 0..<20 {
            now = now.advanced(byMilliseconds: 100)
            demand.record(tokens: 40, memoryMilliseconds: 250, now: now)
        }
        let fast = try Limit(capacity: 1000, refillPerSecond: 1000)
        let capped = try Limit(capacity: 1000, refillPerSecond: 100)
        #expect((95...100).contains(demand.tokensAhead(limit: fast, settings: settings)))
        #expect(demand.tokensAhead(limit: capped, settings: settings) == 25)
        #expect(demand.tokensAhead(limit: .standard, settings: settings) == 0)
    }
}
