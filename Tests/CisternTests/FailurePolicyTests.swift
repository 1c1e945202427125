import CisternTesting
import Testing

@testable import Cistern

@Suite("The policy local, and buckets that move")
struct FailurePolicyTests {
    private let clock = ManualClock(milliseconds: 10_000)
    private let store = ScriptedStore()
    private let log = DecisionLog()

    private func limiter(_ change: (inout LimiterSettings) -> Void = { _ in }) -> RateLimiter {
        var settings = LimiterSettings()
        settings.failurePolicy = .local
        // So that times come out even: two horizons, what a pace takes to be told of, and the timeout make 602 ms.
        settings.lease.clockDriftPerMille = 0
        change(&settings)
        return RateLimiter(limits: Limits(), store: store, lesseeID: "server-1", settings: settings, seed: 1)
    }

    private func ask(_ limiter: RateLimiter, _ key: String = "org-1") {
        let log = log
        let decision = limiter.decide(key.utf8.span, now: clock.now()) { log.add($0) }
        if let decision { log.add(decision) }
    }

    private func outcome(_ limiter: RateLimiter, _ key: String = "org-1") -> Decision.Outcome? {
        ask(limiter, key)
        return log.outcomes.last
    }

    private func loseNode(millionths: Int64 = 500_000) {
        store.setReachable(false)
        store.setLocalShare(LocalFraction(millionths: millionths, lostAt: clock.now()))
    }

    // MARK: Local

    @Test("meters at its part of the limit while the node is lost: what it holds first, then what flows in")
    func metersLocally() {
        let limiter = limiter()
        ask(limiter)
        store.answer(.success(.plain(4, openMicrotokens: 90_000_000)), now: clock.now())
        loseNode()
        #expect((0..<4).map { _ in outcome(limiter) } == [.allowed, .allowed, .allowed, .denied])
        #expect(log.all.last?.retryAfterMilliseconds == 802)
        clock.advance(milliseconds: 801)
        #expect(outcome(limiter) == .denied)
        clock.advance(milliseconds: 1)
        #expect(outcome(limiter) == .allowed)
        #expect(outcome(limiter) == .denied)
        // Half of ten a second, for a minute; half of the capacity is the most.
        clock.advance(milliseconds: 60_000)
        #expect((0..<60).count { _ in outcome(limiter) == .allowed } == 50)
        #expect(limiter.statistics.decisions.unmetered == 0)
        #expect(store.requestCount == 1)
    }

    @Test(
        "meters organizations that it meets while the node is lost, from the loss on, and however often it forgets them"
    )
    func metersUnknown() {
        let limiter = limiter { $0.maximumBuckets = 2 }
        loseNode()
        clock.advance(milliseconds: 1602)
        #expect(
            (0..<6).map { _ in outcome(limiter, "a") } == [.allowed, .allowed, .allowed, .allowed, .allowed, .denied])
        // Two others push it out; it comes back with nothing but what flowed in since it was served.
        _ = outcome(limiter, "b")
        _ = outcome(limiter, "c")
        _ = outcome(limiter, "d")
        #expect(limiter.statistics.evictions > 0)
        #expect(outcome(limiter, "a") == .denied)
        clock.advance(milliseconds: 200)
        #expect(outcome(limiter, "a") == .allowed)
    }

    @Test("a part of less than a token saves up for one, and what it could never pay is refused")
    func savesUp() {
        let limiter = limiter()
        loseNode(millionths: 5000)
        // A two hundredth of ten a second: a token in twenty seconds.
        clock.advance(milliseconds: 100_000)
        #expect(outcome(limiter) == .allowed)
        #expect(outcome(limiter) == .denied)
        #expect(log.all.last?.retryAfterMilliseconds == 20_000)
        clock.advance(milliseconds: 20_000)
        #expect(outcome(limiter) == .allowed)
        #expect(limiter.decideNow("org-1".utf8.span, cost: 2, now: clock.now())?.outcome == .refused)
    }

    @Test("turns away where it knows no part of the limit")
    func refusesWithoutAShare() {
        let limiter = limiter()
        store.setReachable(false)
        #expect(outcome(limiter) == .refused)
        #expect(limiter.statistics.decisions.refused == 1)
    }

    @Test("those that wait when the node is lost are decided at once, by the part of the limit")
    func decidesThoseThatWait() {
        let limiter = limiter()
        ask(limiter)
        ask(limiter)
        loseNode()
        clock.advance(milliseconds: 802)
        store.answer(.failure(.unreachable), now: clock.now())
        #expect(log.outcomes == [.allowed, .denied])
    }

    @Test("goes back to the store when the node is back, and begins anew at the next loss")
    func comesBack() {
        let limiter = limiter()
        loseNode()
        clock.advance(milliseconds: 10_000)
        #expect(outcome(limiter) == .allowed)
        store.setReachable(true)
        ask(limiter)
        #expect(store.next?.needed == 1)
        store.answer(.success(.plain(1, openMicrotokens: 0)), now: clock.now())
        #expect(log.outcomes == [.allowed, .allowed])
        loseNode()
        #expect(outcome(limiter) == .denied)
    }

    // MARK: Buckets that move

    @Test("gives back what was leased of a bucket that has been left, to where it came from, and asks at the new one")
    func movesLeases() async throws {
        let limiter = limiter()
        for name in ["stays", "moves"] {
            ask(limiter, name)
            store.answer(.success(.plain(11, openMicrotokens: 50_000_000)), now: clock.now())
        }
        store.setHome(of: "moves", to: PartitionID(7))
        let moving = Task { await limiter.returnMovedLeases(clock: clock) }
        try await eventually("the lease to go back") { store.requestCount == 3 }
        let parting = try #require(store.next)
        #expect(parting.partition == .only && parting.returned == 10 && parting.held == 0 && parting.waiting.isEmpty)
        store.answer(.success(.plain(0, openMicrotokens: 60_000_000)), now: clock.now())
        await moving.value
        #expect(limiter.leased("moves".utf8.span) == 0)
        #expect(limiter.leased("stays".utf8.span) == 10)
        ask(limiter, "moves")
        let next = try #require(store.next)
        #expect(next.partition == PartitionID(7) && next.held == 0 && next.needed == 1)
        #expect(next.sequence > parting.sequence)
        ask(limiter, "stays")
        #expect(store.requestCount == 4)
    }

    @Test("one with a request in flight turns to its new bucket once that is answered, and gives back what it has left")
    func movesLater() async throws {
        let limiter = limiter()
        ask(limiter)
        store.setHome(of: "org-1", to: PartitionID(7))
        await limiter.returnMovedLeases(clock: clock)
        ask(limiter)
        #expect(store.requestCount == 1)
        store.answer(.success(.plain(3, openMicrotokens: 0)), now: clock.now())
        #expect(log.outcomes == [.allowed, .allowed])
        ask(limiter)
        #expect(store.next?.partition == PartitionID(7))
        #expect(store.next?.held == 0 && store.next?.needed == 1)
        limiter.returnIdleLeases(now: clock.now())
        store.answer(.success(.plain(1, openMicrotokens: 0)), now: clock.now())
        #expect(log.outcomes == [.allowed, .allowed, .allowed])
        #expect(store.next?.partition == .only && store.next?.returned == 1)
    }

    @Test("what the old bucket's store said does not deny at the new one")
    func forgetsTheOldWord() async {
        let limiter = limiter()
        ask(limiter)
        store.answer(.success(.plain(0, openMicrotokens: 0)), now: clock.now())
        #expect(log.outcomes == [.denied])
        store.setHome(of: "org-1", to: PartitionID(7))
        await limiter.returnMovedLeases(clock: clock)
        ask(limiter)
        #expect(store.next?.partition == PartitionID(7))
    }

    @Test("a bucket whose old node is dead is asked for at its new one")
    func leavesADeadNode() {
        let limiter = limiter()
        ask(limiter)
        store.answer(.success(.plain(1, openMicrotokens: 0)), now: clock.now())
        store.setReachable(false)
        store.setHome(of: "org-1", to: PartitionID(7))
        ask(limiter)
        #expect(store.next?.partition == PartitionID(7))
    }
}
