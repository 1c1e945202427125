import CisternSupport
import CisternTesting
import Testing

@testable import Cistern
@testable import CisternCluster

@Suite("Overrides of limits")
struct LimitOverridesTests {
    private typealias Entry = LimitOverrides.Entry

    private func entry(_ capacity: Int?, at time: Int64, until end: Int64? = nil, by who: String = "a") throws -> Entry
    {
        let limit = try capacity.map { try Limit(capacity: $0, refillPerSecond: 0.5, isShadow: $0 == 3) }
        return Entry(limit: limit, setAtMilliseconds: time, expiresAtMilliseconds: end, setBy: who)
    }

    @Test("copies merged in any order converge, and the latest entry wins", arguments: 0..<50 as Range<UInt64>)
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

    @Test("a new entry wins over known ones, even if the local clock is behind")
    func wins() throws {
        var overrides = LimitOverrides()
        overrides.merge("org", try entry(5, at: 1000))
        let next = overrides.entry(for: "org", limit: nil, expiresAtMilliseconds: nil, setBy: "b", nowMilliseconds: 10)
        let shouldReport = overrides.merge("org", next)
        #expect(shouldReport)
        #expect(overrides.inForce(atMilliseconds: 2000).isEmpty)
    }

    @Test("an override ends at its expiry, and leaves a trace for 30 days")
    func ends() throws {
        var overrides = LimitOverrides()
        overrides.merge("org", try entry(5, at: 1000, until: 2000))
        #expect(overrides.inForce(atMilliseconds: 1999).count == 1)
        #expect(overrides.inForce(atMilliseconds: 2000).isEmpty)
        let (early, late) = (overrides.dropTombstones(atMilliseconds: 3000), overrides.entries.count)
        #expect(early.isEmpty && late == 1)
        let dropped = overrides.dropTombstones(atMilliseconds: 2001 + 30 * 86_400_000)
        #expect(Array(dropped.keys) == ["org"] && overrides.entries.isEmpty)
    }

    @Test("beyond the maximum count the oldest traces are dropped, and overrides in force stay")
    func bounded() throws {
        var overrides = LimitOverrides()
        for index in 0..<20 { overrides.merge("gone-\(index)", try entry(nil, at: Int64(1000 + index))) }
        for index in 0..<8 { overrides.merge("kept-\(index)", try entry(5, at: 500)) }
        let dropped = overrides.dropTombstones(atMilliseconds: 5000, most: 10)
        #expect(Set(dropped.keys) == Set((0..<18).map { "gone-\($0)" }))
        #expect(overrides.entries.count == 10 && overrides.inForce(atMilliseconds: 5000).count == 8)
        let further = overrides.dropTombstones(atMilliseconds: 5000, most: 4)
        #expect(further.count == 2 && overrides.entries.count == 8)
    }

    @Test("an entry survives a round trip through its text form, and a malformed text is rejected")
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
