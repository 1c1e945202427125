import CisternTesting
import Testing

@testable import CisternSupport

@Suite("The Space-Saving sketch")
struct SpaceSavingSketchTests {
    private func top(_ names: Subject<SpaceSavingSketch>, _ most: Int = 3, second: Int64) -> [SpaceSavingSketch.Entry] {
        SpaceSavingSketch.top(most, of: [names { $0 }], second: second)
    }

    @Test("the sketch shows a steady stream at its rate")
    func rate() {
        let names = Subject(SpaceSavingSketch())
        for second in 0..<200 as Range<Int64> {
            for _ in 0..<50 { names { $0.record("busy", second: second) } }
            for _ in 0..<5 { names { $0.record("calm", second: second) } }
        }
        let found = top(names, second: 199)
        #expect(found.map(\.name) == ["busy", "calm"])
        #expect(abs((found.first?.perSecond ?? 0) - 50) < 0.1)
        #expect(abs((found.last?.perSecond ?? 0) - 5) < 0.01)
        #expect(found.allSatisfy { $0.errorPerSecond == 0 })
    }

    @Test("a name with more than 1/capacity of the stream is always found, and never underestimated")
    func guarantee() {
        let names = Subject(SpaceSavingSketch(capacity: 64))
        var random = SeededRandom(seed: 7)
        var counts: [String: Double] = [:]
        for index in 0..<100_000 {
            let name = index % 25 == 0 ? "heavy" : "org-\(random.next() % 50_000)"
            counts[name, default: 0] += 1
            names { $0.record(name, second: 0) }
        }
        let found = top(names, 64, second: 0)
        #expect(found.first?.name == "heavy")
        #expect(found.allSatisfy { $0.errorPerSecond <= $0.perSecond / 2 })
        let weight = 0.06696700846319259
        for entry in found {
            let count = entry.perSecond / weight
            let error = entry.errorPerSecond / weight
            let truth = counts[entry.name] ?? 0
            #expect(count >= truth - 0.001 && count - error <= truth + 0.001, "\(entry)")
            #expect(error <= 100_000 / 64 + 0.001)
        }
    }

    @Test("a uniform stream shows no name")
    func nobodyStandsOut() {
        let names = Subject(SpaceSavingSketch(capacity: 64))
        for index in 0..<100_000 { names { $0.record("org-\(index % 10_000)", second: 0) } }
        #expect(top(names, 64, second: 0) == [])
    }

    @Test("a count halves every ten seconds, and is gone after a quarter of an hour")
    func fades() {
        let names = Subject(SpaceSavingSketch())
        for _ in 0..<1000 { names { $0.record("gone", second: 100) } }
        let at = { (second: Int64) in top(names, second: second).first?.perSecond ?? 0 }
        #expect(abs(at(110) / at(100) - 0.5) < 1e-9)
        names { $0.record("new", second: 1100) }
        #expect(top(names, second: 1100).map(\.name) == ["new"])
    }

    @Test("the sketch runs for days without numeric overflow")
    func lasts() {
        let names = Subject(SpaceSavingSketch())
        for second in stride(from: Int64(0), to: 500_000, by: 100) { names { $0.record("org", second: second) } }
        let rate = top(names, second: 499_900).first?.perSecond ?? 0
        #expect(abs(rate - 0.067) < 0.001)
    }

    @Test("sketches of several threads are added up")
    func merges() {
        var sketches = [SpaceSavingSketch](repeating: SpaceSavingSketch(), count: 3)
        for index in sketches.indices {
            for _ in 0...index { sketches[index].record("org", second: 5) }
        }
        let sum = SpaceSavingSketch.top(1, of: sketches, second: 5)
        let one = SpaceSavingSketch.top(1, of: [sketches[0]], second: 5)
        #expect(abs((sum.first?.perSecond ?? 0) / (one.first?.perSecond ?? 1) - 6) < 1e-9)
    }
}
