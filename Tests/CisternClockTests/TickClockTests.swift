import Cistern
import Testing

@testable import CisternClock

@Suite("The cheap clock")
struct TickClockTests {
    @Test("never goes back, and is never ahead of the ordinary clock, in four threads at once")
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
                        // Read earlier at first and later now, the ordinary clock shows at least as much, but for what this
                        // one was behind at first.
                        let bound = before.duration(to: ordinary.now).attoseconds / 1_000_000_000
                        if Int128(now - started) > bound + Int128(TickClock.largestLagNanoseconds) { found.ahead += 1 }
                    }
                    return found
                }
            }
            for await found in group { #expect(found == (0, 0)) }
        }
    }

    @Test("follows the ordinary clock, however long nobody reads it")
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

    /// As one has that is measured while the system's clock is being put right, by more than any measurement errs.
    @Test("follows the counter no more once that is found ahead, and still never goes back")
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
        // It follows for a millisecond by its own reckoning, and looks at the ordinary clock then.
        #expect(furthest <= 1_000_000 + TickClock.largestLagNanoseconds)
    }
}
