import CisternProcesses
import CisternTestSupport
import CisternTesting
import Testing

@testable import Cistern

@Suite("The failure policy local, and rehomed buckets")
struct FailurePolicyTests {
    private let clock = ManualClock(milliseconds: 10_000)
    private let store = ScriptedStore()
    private let log = DecisionLog()

    private func limiter(_ change: (inout LimiterSettings) -> Void = { _ in }) -> RateLimiterEngine {
        var settings = LimiterSettings()
        settings.failurePolicy = .local
        // Without drift, local refill starts 602 ms after the loss: two horizons, 2 ms for rounding and the timeout.
        settings.lease.clockDriftPerMille = 0
        change(&settings)
        return RateLimiterEngine(limits: Limits(), store: store, lesseeID: "server-1", settings: settings, seed: 1)
    }

    private func ask(_ limiter: RateLimiterEngine, _ key: String = "org-1") {
        let log = log
        let decision = limiter.decide(key.utf8.span, now: clock.now()) { log.add($0) }
        if let decision { log.add(decision) }
    }

    private func outcome(_ limiter: RateLimiterEngine, _ key: String = "org-1") -> Decision.Outcome? {
        ask(limiter, key)
        return log.outcomes.last
    }

    private func loseNode(millionths: Int64 = 500_000) {
        store.setReachable(false)
        store.setLocalFraction(LocalFraction(millionths: millionths, lostAt: clock.now()))
    }

    // MARK: Local

    @Test("while the node is lost, a server spends its lease and then its local fraction of the refill")
    func metersLocally() {
        let limiter = limiter()
        ask(limiter)
        store.answer(.success(.plain(4, openUnits: 90_000_000)), now: clock.now())
        loseNode()
        #expect((0..<4).map { _ in outcome(limiter) } == [.allowed, .allowed, .allowed, .denied])
        #expect(log.all.last?.retryAfterMilliseconds == 802)
        clock.advance(milliseconds: 801)
        #expect(outcome(limiter) == .denied)
        clock.advance(milliseconds: 1)
        #expect(outcome(limiter) == .allowed)
        #expect(outcome(limiter) == .denied)
        // Half of 10 per second for one minute, capped at half of the capacity.
        clock.advance(milliseconds: 60_000)
        #expect((0..<60).count { _ in outcome(limiter) == .allowed } == 50)
        #expect(limiter.statistics.decisions.unmetered == 0)
        #expect(store.requestCount == 1)
    }

    @Test("keys first seen after the loss of the node are metered from the loss on, even across evictions")
    func metersUnknown() {
        let limiter = limiter { $0.maximumBuckets = 2 }
        loseNode()
        clock.advance(milliseconds: 1602)
        #expect(
            (0..<6).map { _ in outcome(limiter, "a") } == [.allowed, .allowed, .allowed, .allowed, .allowed, .denied])
        // Other keys evict it. It returns with only the refill since its last request.
        _ = outcome(limiter, "b")
        _ = outcome(limiter, "c")
        _ = outcome(limiter, "d")
        #expect(limiter.statistics.evictions > 0)
        #expect(outcome(limiter, "a") == .denied)
        clock.advance(milliseconds: 200)
        #expect(outcome(limiter, "a") == .allowed)
    }

    @Test("a local fraction below one token accumulates to a token, and a cost that it can never pay is refused")
    func savesUp() {
        let limiter = limiter()
        loseNode(millionths: 5000)
        // 1/200 of 10 tokens per second: one token in 20 s.
        clock.advance(milliseconds: 100_000)
        #expect(outcome(limiter) == .allowed)
        #expect(outcome(limiter) == .denied)
        #expect(log.all.last?.retryAfterMilliseconds == 20_000)
        clock.advance(milliseconds: 20_000)
        #expect(outcome(limiter) == .allowed)
        #expect(limiter.decideNow("org-1".utf8.span, cost: 2, now: clock.now())?.outcome == .refused)
    }

    @Test("requests are refused if the local fraction is unknown")
    func refusesWithoutLocalFraction() {
        let limiter = limiter()
        store.setReachable(false)
        #expect(outcome(limiter) == .refused)
        #expect(limiter.statistics.decisions.refused == 1)
    }

    @Test("requests that wait when the node is lost are decided at once by the local fraction")
    func decidesThoseThatWait() {
        let limiter = limiter()
        ask(limiter)
        ask(limiter)
        loseNode()
        clock.advance(milliseconds: 802)
        store.answer(.failure(.unreachable), now: clock.now())
        #expect(log.outcomes == [.allowed, .denied])
    }

    @Test("the store decides again when the node is back, and the next loss starts with an empty local bucket")
    func comesBack() {
        let limiter = limiter()
        loseNode()
        clock.advance(milliseconds: 10_000)
        #expect(outcome(limiter) == .allowed)
        store.setReachable(true)
        ask(limiter)
        #expect(store.next?.missingTokens == 1)
        store.answer(.success(.plain(1, openUnits: 0)), now: clock.now())
        #expect(log.outcomes == [.allowed, .allowed])
        loseNode()
        #expect(outcome(limiter) == .denied)
    }

    // MARK: Rehomed buckets

    @Test("tokens of a rehomed bucket return to the old partition, and new requests go to the new one")
    func movesLeases() async throws {
        let limiter = limiter()
        for name in ["stays", "moves"] {
            ask(limiter, name)
            store.answer(.success(.plain(11, openUnits: 50_000_000)), now: clock.now())
        }
        store.setPartition(of: "moves", to: PartitionID(7))
        let moving = Task { await limiter.returnMovedLeases(clock: clock) }
        try await eventually("the lease to be returned") { store.requestCount == 3 }
        let parting = try #require(store.next)
        #expect(parting.partition == .only && parting.returned == 10 && parting.held == 0 && parting.waiting.isEmpty)
        store.answer(.success(.plain(0, openUnits: 60_000_000)), now: clock.now())
        await moving.value
        #expect(limiter.outstandingTokens("moves".utf8.span) == 0)
        #expect(limiter.outstandingTokens("stays".utf8.span) == 10)
        ask(limiter, "moves")
        let next = try #require(store.next)
        #expect(next.partition == PartitionID(7) && next.held == 0 && next.missingTokens == 1)
        #expect(next.sequence > parting.sequence)
        ask(limiter, "stays")
        #expect(store.requestCount == 4)
    }

    @Test("a key with a request in flight is rehomed after the reply, and returns its remaining tokens")
    func movesLater() async throws {
        let limiter = limiter()
        ask(limiter)
        store.setPartition(of: "org-1", to: PartitionID(7))
        await limiter.returnMovedLeases(clock: clock)
        ask(limiter)
        #expect(store.requestCount == 1)
        store.answer(.success(.plain(3, openUnits: 0)), now: clock.now())
        #expect(log.outcomes == [.allowed, .allowed])
        ask(limiter)
        #expect(store.next?.partition == PartitionID(7))
        #expect(store.next?.held == 0 && store.next?.missingTokens == 1)
        limiter.returnIdleLeases(now: clock.now())
        store.answer(.success(.plain(1, openUnits: 0)), now: clock.now())
        #expect(log.outcomes == [.allowed, .allowed, .allowed])
        #expect(store.next?.partition == .only && store.next?.returned == 1)
    }

    @Test("a denial at the old partition does not deny at the new one")
    func forgetsOldDenial() async {
        let limiter = limiter()
        ask(limiter)
        store.answer(.success(.plain(0, openUnits: 0)), now: clock.now())
        #expect(log.outcomes == [.denied])
        store.setPartition(of: "org-1", to: PartitionID(7))
        await limiter.returnMovedLeases(clock: clock)
        ask(limiter)
        #expect(store.next?.partition == PartitionID(7))
    }

    @Test("a bucket whose old node is dead is leased from its new partition")
    func leavesADeadNode() {
        let limiter = limiter()
        ask(limiter)
        store.answer(.success(.plain(1, openUnits: 0)), now: clock.now())
        store.setReachable(false)
        store.setPartition(of: "org-1", to: PartitionID(7))
        ask(limiter)
        #expect(store.next?.partition == PartitionID(7))
    }
}
