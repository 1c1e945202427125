internal import Cistern

/// Weighted consistent hashing: says which of several nodes keeps an organization's bucket.
///
/// Each node has points on a circle of 2^64, as many as its weight says; an organization belongs to the node whose point
/// comes first at or after its own. A node's points follow from its name alone, so adding, removing or re-weighting one
/// node moves only the organizations that it gains or loses. Nothing depends on the process, the release or the order
/// in which nodes are named. Source: Karger et al., "Consistent Hashing and Random Trees", 1997.
public struct Ring: Sendable, Equatable {
    /// Points of a node for each unit of its weight.
    ///
    /// The share of a node of weight 1 strays from its weight by one part in √2048, 2.2 %, as a standard deviation: by
    /// more than 10 % once in a hundred thousand. With 160 points it would by 8 %, and one node of sixteen would all but
    /// surely miss by more than 10 %.
    public static let pointsPerWeight = 2048
    /// The most that the weights of all nodes may add up to.
    public static let maximumWeight = 1024

    /// One node, as the ring sees it.
    public struct Member: Sendable, Hashable {
        /// The name, from which its points follow.
        public let name: String
        /// How many times the share of a node of weight 1 it takes, 1 and more.
        public let weight: Int

        /// Creates a member.
        public init(name: String, weight: Int = 1) {
            self.name = name
            self.weight = weight
        }
    }

    /// The nodes, in the order in which they were given.
    public let members: [Member]
    /// All points, in their order.
    private let points: [UInt64]
    /// Which member each point belongs to.
    private let owners: [UInt16]
    /// For each value of a hash's highest bits, the first point that such a hash can belong to.
    private let starts: [UInt32]
    private let shift: UInt64
    /// The part of all organizations that each member keeps, in the order of ``members``; together 1.
    public let shares: [Double]

    /// Places nodes on the circle.
    ///
    /// - Parameter members: one and more, each with another name; their weights add up to ``maximumWeight`` at most.
    public init(_ members: [Member]) {
        let weight = members.reduce(0) { $0 + $1.weight }
        precondition(!members.isEmpty && members.allSatisfy { $0.weight > 0 }, "a ring has members, each with a weight")
        precondition(weight <= Self.maximumWeight, "the weights on a ring add up to 1024 at most")
        precondition(Set(members.map(\.name)).count == members.count, "each member of a ring has another name")
        self.members = members
        var placed: [(point: UInt64, owner: UInt16)] = []
        for (index, member) in members.enumerated() {
            for point in member.points { placed.append((point, UInt16(index))) }
        }
        // Where two points fall together the name decides, so that the order of the members never does.
        placed.sort { left, right in
            guard left.point == right.point else { return left.point < right.point }
            return members[Int(left.owner)].name < members[Int(right.owner)].name
        }
        let points = placed.map(\.point)
        self.points = points
        owners = placed.map(\.owner)
        // As many starts as points, or up to twice as many: then a look-up passes about one point.
        let bits = UInt64(Int.bitWidth - points.count.leadingZeroBitCount)
        shift = 64 - bits
        var starts: [UInt32] = []
        var next = 0
        for prefix in 0..<(UInt64(1) << bits) {
            while next < points.count, points[next] < prefix << shift { next += 1 }
            starts.append(UInt32(next))
        }
        self.starts = starts
        shares = Self.shares(of: members.count, points: points, owners: owners)
    }

    /// The index, among ``members``, of the node that keeps an organization.
    public func owner(of key: Span<UInt8>) -> Int {
        let hash = StableHash.of(key)
        var index = Int(starts[Int(hash >> shift)])
        while index < points.count, points[index] < hash { index += 1 }
        return Int(owners[index == points.count ? 0 : index])
    }

    private static func shares(of count: Int, points: [UInt64], owners: [UInt16]) -> [Double] {
        var lengths = [Double](repeating: 0, count: count)
        // From the last point round to the first, and then from each to the next.
        var previous = points[points.count - 1]
        for (point, owner) in zip(points, owners) {
            lengths[Int(owner)] += Double(point &- previous)
            previous = point
        }
        return lengths.map { $0 / 0x1p64 }
    }
}

extension Ring.Member {
    fileprivate var points: [UInt64] {
        var label = Array(name.utf8) + [0, 0, 0, 0]
        let end = label.count
        return (0..<UInt32(weight * Ring.pointsPerWeight)).map { number in
            for byte in 0..<4 { label[end - 4 + byte] = UInt8(truncatingIfNeeded: number >> (8 * UInt32(byte))) }
            return StableHash.of(label.span)
        }
    }
}

/// The hash that places names on the ring: the same in every process and every release.
enum StableHash {
    /// SipHash-1-3 under the key 0.
    static func of(_ bytes: Span<UInt8>) -> UInt64 {
        SipHash(key: (low: 0, high: 0))(bytes)
    }
}
