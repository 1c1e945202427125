import Cistern
import CisternProcesses
import CisternTesting
import Testing

@testable import CisternRedis

@Suite("The statistics of a node's lease requests")
struct NodeStatisticsTests {
    private func counted(waiting: Int, prefetchTokens: Int, tokens: Int, trickleTokens: Int = 0) -> NodeStatistics {
        var grant = Grant.plain(tokens)
        grant.trickleTokens = trickleTokens
        let request = LeaseRequest(
            key: [], limit: .standard, lesseeID: "a", sequence: 1, acknowledged: 0, held: 0,
            millisecondsSinceLastSpend: 0, halfSpentTokens: 0, halfSpentMilliseconds: 0, returned: 7,
            waiting: waiting > 0 ? [WaitingRun(cost: 1, count: waiting)] : [],
            requested: RequestedLease(prefetchTokens: prefetchTokens, weight: 1), durationMilliseconds: 2000,
            sentAt: Instant(milliseconds: 0),
            deadline: Instant(milliseconds: 100))
        var statistics = NodeStatistics()
        statistics.count(request, .success(grant), now: Instant(milliseconds: 1))
        return statistics
    }

    @Test("requests count as granted, as short if not paid at once, or as returned if they ask for nothing")
    func results() {
        #expect(counted(waiting: 2, prefetchTokens: 0, tokens: 2).granted == 1)
        #expect(counted(waiting: 0, prefetchTokens: 50, tokens: 10).granted == 1)
        #expect(counted(waiting: 2, prefetchTokens: 0, tokens: 1).partlyGranted == 1)
        #expect(counted(waiting: 0, prefetchTokens: 50, tokens: 10, trickleTokens: 40).partlyGranted == 1)
        #expect(counted(waiting: 0, prefetchTokens: 0, tokens: 0).returned == 1)
    }
}
