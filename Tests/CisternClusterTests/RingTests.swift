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

    /// Which member each of a million organizations belongs to.
    private static func owners(on ring: Ring) -> [Int] {
        (0..<count).map { ring.owner(of: "org-\($0)".utf8.span) }
    }

    /// These are what servers of every release agree on; if this fails, a rolling upgrade would split every limit.
    @Test("places the same names at the same nodes in every process and release")
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

    @Test("gives every node its weight's part of a million organizations, within a tenth", arguments: [3, 5, 16])
    func isEven(nodes: Int) {
        let ring = Self.ring(nodes)
        let counts = Self.owners(on: ring).reduce(into: [Int](repeating: 0, count: nodes)) { $0[$1] += 1 }
        let fair = Double(Self.count) / Double(nodes)
        for count in counts { #expect(abs(Double(count) / fair - 1) < 0.1, "\(counts)") }
        for (count, share) in zip(counts, ring.shares) {
            #expect(abs(Double(count) - share * Double(Self.count)) < 0.01 * fair)
        }
    }

    @Test("keeps to unequal weights, within a tenth")
    func keepsWeights() {
        let weights = [1, 2, 3, 4, 10]
        let counts = Self.owners(on: Self.ring(5, weights: weights)).reduce(into: [0, 0, 0, 0, 0]) { $0[$1] += 1 }
        for (count, weight) in zip(counts, weights) {
            #expect(abs(Double(count) / (Double(Self.count * weight) / 20) - 1) < 0.1, "\(counts)")
        }
    }

    @Test("moves to an added node at most 1.1 times its part, and back exactly those", arguments: [3, 5, 16])
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

    @Test("moves organizations only to a node whose weight grows")
    func reweights() {
        let before = Self.owners(on: Self.ring(3, weights: [1, 1, 1]))
        let after = Self.owners(on: Self.ring(3, weights: [1, 2, 1]))
        for (old, new) in zip(before, after) where old != new { #expect(new == 1) }
    }

    @Test("does not depend on the order in which nodes are named")
    func ordersNothing() {
        let members = (0..<5).map { Ring.Member(name: "node-\($0)", weight: 1 + $0 % 2) }
        let (one, other) = (Ring(members), Ring(members.reversed()))
        for number in 0..<10_000 {
            let name = "org-\(number)".utf8.span
            #expect(one.members[one.owner(of: name)] == other.members[other.owner(of: name)])
        }
    }

    @Test("leaves everything to a node that is alone")
    func alone() {
        let ring = Ring([Ring.Member(name: "only")])
        #expect((0..<1000).allSatisfy { ring.owner(of: "org-\($0)".utf8.span) == 0 })
        #expect(ring.shares.count == 1 && abs(ring.shares[0] - 1) < 1e-9)
    }

    /// The bound of a tenth is a matter of luck with each set of names; this shows how much of it.
    @Test("keeps within a tenth for nearly every choice of names")
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
