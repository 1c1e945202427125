import Testing

@testable import Cistern

@Suite("Times")
struct TimeTests {
    @Test(
        "a duration converts to whole nanoseconds, rounded toward zero",
        arguments: [
            (0, 0), (1_000_000_000, 1), (-1_000_000_000, -1), (999_999_999, 0), (1_999_999_999, 1), (-1, 0),
            (86_400_000_000_000_000_000_001, 86_400_000_000_000), (86_400_000_000_000_000_000_000, 86_400_000_000_000),
        ] as [(Int128, Int64)])
    func nanoseconds(attoseconds: Int128, expected: Int64) {
        #expect(ClockTimeSource<ContinuousClock>.nanoseconds(Duration(attoseconds: attoseconds)) == expected)
    }

    @Test(
        "an idle check is due at its time and long after it, and never before", arguments: [0, 8_388_607])
    func idleCheckIsDue(index: Int) {
        for start in [0, 1_234_567_890, 1 << 41 - 1, 1 << 50] as [Int64] {
            let due = Instant(nanoseconds: start)
            let place = IdleCheck(index, due: due)
            #expect(place.index == index)
            for early in [1, 1_000_000, 60_000_000_000] as [Int64] where start >= early {
                #expect(!place.isDue(at: Instant(nanoseconds: start - early)))
            }
            for late in [0, 1, 1_000_000, 60_000_000_000, 1_800_000_000_000] as [Int64] {
                #expect(place.isDue(at: Instant(nanoseconds: start + late)))
            }
        }
    }
}
