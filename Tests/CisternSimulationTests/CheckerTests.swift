import Cistern
import CisternSupport
import Testing

@testable import CisternSimulation

/// Tests checkers with constructed observations, for violations that no mutant of a message can cause.
@Suite("Checkers")
struct CheckerTests {
    private let settings: WorldSettings

    init() throws {
        settings = WorldSettings(seed: 1, limit: try Limit(capacity: 10, refillPerSecond: 10))
    }

    private func allowed(_ cost: Int = 1) -> Observation {
        .decided(
            Decided(
                server: 0, key: 0, cost: cost,
                decision: .allowed(settings.limit, balanceUnits: 0, at: Instant(milliseconds: 0)), arrivedAt: 0,
                paused: 0))
    }

    @Test("over-admission is exact: capacity plus refill to the millisecond passes, and one token more does not")
    func overAdmission() {
        var checker = OverAdmissionChecker(settings)
        for _ in 0..<10 { #expect(checker.observe(allowed(), at: 0) == nil) }
        #expect(checker.observe(allowed(), at: .milliseconds(100)) == nil)
        #expect(checker.peakPercent == 0)
        #expect(checker.observe(allowed(), at: .milliseconds(199)) != nil)
        #expect(checker.peakPercent == 0.1)
    }

    @Test("after data loss, servers may spend the tokens leased before, once, until they get a new reply")
    func excessAfterLoss() {
        var checker = OverAdmissionChecker(settings)
        for _ in 0..<10 { #expect(checker.observe(allowed(), at: 0) == nil) }
        #expect(checker.observe(.lost(key: 0, outstanding: 5), at: 0) == nil)
        for _ in 0..<5 { #expect(checker.observe(allowed(), at: 0) == nil) }
        var greedy = checker
        #expect(greedy.observe(allowed(), at: 0) != nil)
        #expect(checker.observe(.answered(server: 0, key: 0, order: 1), at: 0) == nil)
        for _ in 0..<10 { #expect(checker.observe(allowed(), at: 0) == nil) }
        #expect(checker.observe(allowed(), at: 0) != nil)
    }

    @Test("conservation detects missing tokens, surplus tokens, and spending without admission")
    func conservation() {
        var tally = LeaseTokenTally()
        tally.granted = 10
        tally.spent = 2
        tally.returned = 3
        tally.expired = 1
        let endRun = { (leased: Int, admitted: Int) in
            var checker = ConservationChecker(settings)
            if admitted > 0 { _ = checker.observe(allowed(admitted), at: 0) }
            return checker.endRun(of: 0, tally: tally, leased: leased)
        }
        #expect(endRun(4, 2) == nil)
        #expect(endRun(5, 2) != nil)
        #expect(endRun(3, 2) != nil)
        #expect(endRun(4, 1) != nil)
    }

    @Test("the portable logarithm is accurate")
    func logarithms() {
        #expect(abs(logarithm(10) - 2.302_585_092_994_046) < 1e-15)
        #expect(abs(logarithm(0.001) + 6.907_755_278_982_137) < 1e-14)
        #expect(logarithm(1) == 0)
    }

    @Test("events are ordered by time, and events of the same time by insertion")
    func queue() {
        var queue = EventQueue<Int>()
        var random = SeededRandom(seed: 1)
        for event in 0..<1000 { queue.add(event, at: Int64(random.number(0...50))) }
        var last: (time: Time, event: Int) = (-1, -1)
        var count = 0
        while let next = queue.popFirst() {
            #expect(next.time > last.time || (next.time == last.time && next.event > last.event))
            last = next
            count += 1
        }
        #expect(count == 1000)
    }
}
