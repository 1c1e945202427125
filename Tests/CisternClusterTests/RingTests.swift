import CisternTesting
import Testing

@testable import Cistern
@testable import CisternCluster

@Suite("The ring")
struct RingTests {
    private static let count = 1_000_000

    private static func ring(_ nodes: Int, weights: [Int] = []) -> Ring {
        Ring((0..<nodes).map { Ring.Member(name: "redis-\($0):6379", weight: weights.isEmpty ? 1 : weights[$0]) })
    }

    /// The owner of each of a million keys.
    private static func owners(on ring: Ring) -> [Int] {
        (0..<count).map { ring.owner(of: "org-\($0)".utf8.span) }
    }

    /// Servers of all releases must agree on these values; if this fails, a rolling upgrade would split every limit.
    @Test("a key belongs to the same node in every process and release")
    func goldenVectors() {
        let ring = Ring([
            Ring.Member(name: "10.0.0.1:6379"), Ring.Member(name: "10.0.0.2:6379"),
            Ring.Member(name: "redis-c.example:7000/2", weight: 3),
        ])
        let names = [
            "", "a", "acme", "org-1", "org-2", "org-3", "org-4", "org-5", "Zürich", String(repeating: "x", count: 128),
        ]
        #expect(names.map { ring.owner(of: $0.utf8.span) } == [0, 2, 1, 0, 2, 0, 2, 2, 2, 2])
        #expect(StableHash.of("acme".utf8.span) == 4_455_170_195_598_274_452)
        #expect(ring.shares.map { ($0 * 1_000_000).rounded() } == [201_611, 197_415, 600_973])
    }

    @Test("nodes of equal weight get equal shares of a million keys, within 10 %", arguments: [3, 5, 16])
    func isEven(nodes: Int) {
        let ring = Self.ring(nodes)
        let counts = Self.owners(on: ring).reduce(into: [Int](repeating: 0, count: nodes)) { $0[$1] += 1 }
        let fair = Double(Self.count) / Double(nodes)
        for count in counts { #expect(abs(Double(count) / fair - 1) < 0.1, "\(counts)") }
        for (count, share) in zip(counts, ring.shares) {
            #expect(abs(Double(count) - share * Double(Self.count)) < 0.01 * fair)
        }
    }

    @Test("nodes of unequal weight get keys in proportion to their weights, within 10 %")
    func keepsWeights() {
        let weights = [1, 2, 3, 4, 10]
        let counts = Self.owners(on: Self.ring(5, weights: weights)).reduce(into: [0, 0, 0, 0, 0]) { $0[$1] += 1 }
        for (count, weight) in zip(counts, weights) {
            #expect(abs(Double(count) / (Double(Self.count * weight) / 20) - 1) < 0.1, "\(counts)")
        }
    }

    @Test("an added node takes at most 1.1 times its fair share; removal restores all owners", arguments: [3, 5, 16])
    func movesLittle(nodes: Int) {
        let before = Self.owners(on: Self.ring(nodes))
        let after = Self.owners(on: Self.ring(nodes + 1))
        var moved = 0
        for (old, new) in zip(before, after) where old != new {
            #expect(new == nodes)
            moved += 1
        }
        #expect(Double(moved) <= 1.1 * Double(Self.count) / Double(nodes + 1))
        #expect(moved > 0)
        #expect(Self.owners(on: Self.ring(nodes)) == before)
    }

    @Test("raising the weight of a node moves keys only to that node")
    func reweights() {
        let before = Self.owners(on: Self.ring(3, weights: [1, 1, 1]))
        let after = Self.owners(on: Self.ring(3, weights: [1, 2, 1]))
        for (old, new) in zip(before, after) where old != new { #expect(new == 1) }
    }

    @Test("the owner of a key does not depend on the order of the nodes")
    func ordersNothing() {
        let members = (0..<5).map { Ring.Member(name: "node-\($0)", weight: 1 + $0 % 2) }
        let (one, other) = (Ring(members), Ring(members.reversed()))
        for number in 0..<10_000 {
            let name = "org-\(number)".utf8.span
            #expect(one.members[one.owner(of: name)] == other.members[other.owner(of: name)])
        }
    }

    @Test("a single node owns every key")
    func alone() {
        let ring = Ring([Ring.Member(name: "only")])
        #expect((0..<1000).allSatisfy { ring.owner(of: "org-\($0)".utf8.span) == 0 })
        #expect(ring.shares.count == 1 && abs(ring.shares[0] - 1) < 1e-9)
    }

    /// Node names decide whether a ring stays within 10 %; this test measures the worst of 100 sets of names.
    @Test("100 rings of 16 nodes all stay within 10 % of equal shares")
    func oddsOfNames() {
        var worst = 0.0
        for set in 0..<100 {
            let ring = Ring((0..<16).map { Ring.Member(name: "10.\(set).0.\($0):6379") })
            worst = max(worst, ring.shares.map { abs($0 * 16 - 1) }.max() ?? 0)
        }
        #expect(worst < 0.1, "\(worst)")
        print("worst share of 100 rings of 16 nodes: \((worst * 1000).rounded() / 10) % off")
    }
}
