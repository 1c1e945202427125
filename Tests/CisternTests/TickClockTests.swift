import Testing

@testable import Cistern

@Suite("The tick clock")
struct TickClockTests {
    @Test("four threads at once never see the tick clock go back or run ahead of the ordinary clock")
    func staysBehind() async {
        let tick = TickClock()
        let ordinary = ContinuousClock()
        let before = ordinary.now
        let started = tick.now().nanoseconds
        await withTaskGroup(of: (backward: Int, ahead: Int).self) { group in
            for _ in 0..<4 {
                group.addTask {
                    var found = (backward: 0, ahead: 0)
                    var last = 0 as Int64
                    for _ in 0..<200_000 {
                        let now = tick.now().nanoseconds
                        if now < last { found.backward += 1 }
                        last = now
                        // The ordinary clock was read before the first tick reading and after this one, so it shows
                        // at least as much time, except for the initial lag of the tick clock.
                        let bound = before.duration(to: ordinary.now).attoseconds / 1_000_000_000
                        if Int128(now - started) > bound + Int128(TickClock.largestLagNanoseconds) { found.ahead += 1 }
                    }
                    return found
                }
            }
            for await found in group { #expect(found == (0, 0)) }
        }
    }

    @Test("the tick clock follows the ordinary clock, even after a pause without readings")
    func follows() async throws {
        let tick = TickClock()
        let ordinary = ContinuousClock()
        for _ in 0..<5 {
            let (first, start) = (tick.now(), ordinary.now)
            try await Task.sleep(for: .milliseconds(30))
            let (end, last) = (ordinary.now, tick.now())
            let shown = last.nanoseconds - first.nanoseconds
            let passed = Int64(start.duration(to: end).attoseconds / 1_000_000_000)
            #expect(shown >= passed - TickClock.largestLagNanoseconds)
        }
    }

    /// The rate is twice too high: a worse error than any measurement makes while the system's clock is corrected.
    @Test("a tick clock stops following a counter that runs ahead, and still never goes back")
    func isNotLedAhead() {
        let tick = TickClock(nanosecondsPerTick: TickClock.nanosecondsPerTick * 2)
        let ordinary = ContinuousClock()
        let before = ordinary.now
        let started = tick.now().nanoseconds
        var (last, backward, furthest) = (started, 0, 0 as Int64)
        while before.duration(to: ordinary.now) < .milliseconds(50) {
            let now = tick.now().nanoseconds
            if now < last { backward += 1 }
            last = now
            let passed = Int64(before.duration(to: ordinary.now).attoseconds / 1_000_000_000)
            furthest = max(furthest, now - started - passed)
        }
        #expect(backward == 0)
        // It follows the counter for 1 ms of its own time, and then checks the ordinary clock.
        #expect(furthest <= 1_000_000 + TickClock.largestLagNanoseconds)
    }
}
