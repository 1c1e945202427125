import CisternTesting
import Testing

@testable import Cistern

@Suite("The busiest names")
struct SpaceSavingSketchTests {
    private func top(_ names: Subject<SpaceSavingSketch>, _ most: Int = 3, second: Int64) -> [SpaceSavingSketch.Entry] {
        SpaceSavingSketch.busiest(most, of: [names { $0 }], second: second)
    }

    @Test("an even stream is shown at its rate")
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

    @Test(
        "whoever makes up more than one part in the capacity is found among any number of others, and never underestimated"
    )
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

    @Test("where no name stands out none is shown")
    func nobodyStandsOut() {
        let names = Subject(SpaceSavingSketch(capacity: 64))
        for index in 0..<100_000 { names { $0.record("org-\(index % 10_000)", second: 0) } }
        #expect(top(names, 64, second: 0) == [])
    }

    @Test("what is past fades by half in ten seconds, and is gone after a quarter of an hour")
    func fades() {
        let names = Subject(SpaceSavingSketch())
        for _ in 0..<1000 { names { $0.record("gone", second: 100) } }
        let at = { (second: Int64) in top(names, second: second).first?.perSecond ?? 0 }
        #expect(abs(at(110) / at(100) - 0.5) < 1e-9)
        names { $0.record("new", second: 1100) }
        #expect(top(names, second: 1100).map(\.name) == ["new"])
    }

    @Test("it goes on for days without running out of numbers")
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
        let sum = SpaceSavingSketch.busiest(1, of: sketches, second: 5)
        let one = SpaceSavingSketch.busiest(1, of: [sketches[0]], second: 5)
        #expect(abs((sum.first?.perSecond ?? 0) / (one.first?.perSecond ?? 1) - 6) < 1e-9)
    }
}

@Suite("Latencies")
struct LatencyHistogramTests {
    @Test("a quantile lies where Prometheus would put it; zeros count as no wait")
    func quantiles() {
        var histogram = LatencyHistogram()
        #expect(histogram.quantile(0.5) == nil)
        for _ in 0..<100 { histogram.record(nanoseconds: 700_000) }
        #expect(histogram.quantile(0.5) == 0.75)
        #expect(histogram.quantile(0.5, zeros: 900) == 0)
        #expect(histogram.quantile(0.95, zeros: 900) == 0.75)
        #expect(histogram.quantile(0.99, zeros: 900).map { abs($0 - 0.95) < 1e-9 } == true)
        histogram.record(nanoseconds: 60_000_000_000)
        #expect(histogram.quantile(1) == 10_000)
    }

    @Test("what came since an earlier state is counted alone")
    func since() {
        var histogram = LatencyHistogram()
        histogram.record(nanoseconds: 50_000)
        let earlier = histogram
        histogram.record(nanoseconds: 2_000_000)
        let later = histogram.since(earlier)
        #expect(later.count == 1 && later.sumNanoseconds == 2_000_000)
    }
}

@Suite("Overrides of limits")
struct LimitOverridesTests {
    private typealias Entry = LimitOverrides.Entry

    private func entry(_ capacity: Int?, at time: Int64, until end: Int64? = nil, by who: String = "a") throws -> Entry
    {
        let limit = try capacity.map { try Limit(capacity: $0, refillPerSecond: 0.5, isShadow: $0 == 3) }
        return Entry(limit: limit, setAtMilliseconds: time, expiresAtMilliseconds: end, setBy: who)
    }

    @Test("copies merged in any order are the same, and what was said last wins", arguments: 0..<50 as Range<UInt64>)
    func convergence(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var said: [(String, Entry)] = []
        for _ in 0..<40 {
            let capacity = random.next() % 4 == 0 ? nil : Int(random.next() % 5 + 1)
            said.append(("org-\(random.next() % 5)", try entry(capacity, at: Int64(random.next() % 20))))
        }
        var copies = [LimitOverrides](repeating: LimitOverrides(), count: 3)
        for (name, entry) in said { copies[Int(random.next() % 3)].merge(name, entry) }
        var one = copies[0]
        one.merge(copies[1])
        one.merge(copies[2])
        var other = copies[2]
        other.merge(copies[0])
        for (name, entry) in one.missing(in: other) { other.merge(name, entry) }
        #expect(one == other)
        for (name, entry) in one.entries {
            let last = said.filter { $0.0 == name }.map(\.1.setAtMilliseconds).max()
            #expect(entry.setAtMilliseconds == last)
        }
    }

    @Test("what is said here wins over what is known, even on a clock that is behind")
    func wins() throws {
        var overrides = LimitOverrides()
        overrides.merge("org", try entry(5, at: 1000))
        let next = overrides.entry(for: "org", limit: nil, expiresAtMilliseconds: nil, setBy: "b", nowMilliseconds: 10)
        let isNews = overrides.merge("org", next)
        #expect(isNews)
        #expect(overrides.inForce(atMilliseconds: 2000).isEmpty)
    }

    @Test("it ends when it is to end, and leaves a trace for a month")
    func ends() throws {
        var overrides = LimitOverrides()
        overrides.merge("org", try entry(5, at: 1000, until: 2000))
        #expect(overrides.inForce(atMilliseconds: 1999).count == 1)
        #expect(overrides.inForce(atMilliseconds: 2000).isEmpty)
        let (early, late) = (overrides.dropTraces(atMilliseconds: 3000), overrides.entries.count)
        #expect(early.isEmpty && late == 1)
        let dropped = overrides.dropTraces(atMilliseconds: 2001 + 30 * 86_400_000)
        #expect(Array(dropped.keys) == ["org"] && overrides.entries.isEmpty)
    }

    @Test("there are no more than may be: the oldest traces go first, and what is in force stays")
    func bounded() throws {
        var overrides = LimitOverrides()
        for index in 0..<20 { overrides.merge("gone-\(index)", try entry(nil, at: Int64(1000 + index))) }
        for index in 0..<8 { overrides.merge("kept-\(index)", try entry(5, at: 500)) }
        let dropped = overrides.dropTraces(atMilliseconds: 5000, most: 10)
        #expect(Set(dropped.keys) == Set((0..<18).map { "gone-\($0)" }))
        #expect(overrides.entries.count == 10 && overrides.inForce(atMilliseconds: 5000).count == 8)
        let further = overrides.dropTraces(atMilliseconds: 5000, most: 4)
        #expect(further.count == 2 && overrides.entries.count == 8)
    }

    @Test("what a copy keeps is read as it was, and what is not such a text is not read")
    func texts() throws {
        for entry in [
            try entry(5, at: 1000), try entry(3, at: 1, until: 2), try entry(nil, at: 7, by: "x:y z"),
        ] {
            #expect(Entry(text: entry.text) == entry)
        }
        for text in ["", "1:2:3", "a:0:0:1:1:x", "1:0:0:-1:5:x:", "1:0:0:5:0:x", "1:0:0:99999999999:1:x"] {
            let read = Entry(text: text)
            #expect(read == nil || read?.limit == nil, "\(text)")
        }
    }
}
