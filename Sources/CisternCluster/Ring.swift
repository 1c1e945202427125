internal import Cistern

/// Weighted consistent hashing: maps each key to the node that keeps its bucket.
///
/// Each node has points on a circle of 2^64, in proportion to its weight. A key belongs to the node whose point comes
/// first at or after the key's own. A node's points depend on its name alone, so adding, removing or re-weighting one
/// node moves only the keys that it gains or loses. Nothing depends on the process, the release or the order of the
/// nodes. Source: Karger et al., "Consistent Hashing and Random Trees", 1997.
public struct Ring: Sendable, Equatable {
    /// Points of a node per unit of its weight.
    ///
    /// The share of keys of a node of weight 1 deviates from its weight by one part in √2048, or 2.2 % (standard
    /// deviation). It deviates by more than 10 % once in a hundred thousand. With 160 points the deviation would be 8
    /// %, and among sixteen nodes one would almost surely deviate by more than 10 %.
    public static let pointsPerWeight = 2048
    /// The maximum sum of the weights of all nodes.
    public static let maximumWeight = 1024

    /// One node of a ring.
    public struct Member: Sendable, Hashable {
        /// The name, which determines the node's points.
        public let name: String
        /// The weight, at least 1: the node's share is this many times the share of a node of weight 1.
        public let weight: Int

        /// Creates a member.
        public init(name: String, weight: Int = 1) {
            self.name = name
            self.weight = weight
        }
    }

    /// The nodes, in the order given.
    public let members: [Member]
    /// All points, in ascending order.
    private let points: [UInt64]
    /// The index of the member of each point.
    private let owners: [UInt16]
    /// For each value of a hash's highest bits: the index of the first point to which that hash can belong.
    private let starts: [UInt32]
    private let shift: UInt64
    /// The fraction of all keys that each member keeps, in the order of ``members``; the sum is 1.
    public let shares: [Double]

    /// Creates a ring.
    ///
    /// - Parameter members: at least one, with distinct names and positive weights that add up to at most
    ///   ``maximumWeight``; other members trap.
    public init(_ members: [Member]) {
        let weight = members.reduce(0) { $0 + $1.weight }
        precondition(!members.isEmpty && members.allSatisfy { $0.weight > 0 }, "a ring needs members with weights > 0")
        precondition(weight <= Self.maximumWeight, "the weights of a ring add up to at most 1024")
        precondition(Set(members.map(\.name)).count == members.count, "the members of a ring have distinct names")
        self.members = members
        var placed: [(point: UInt64, owner: UInt16)] = []
        for (index, member) in members.enumerated() {
            for point in member.points { placed.append((point, UInt16(index))) }
        }
        // Equal points are sorted by name, so that the order of the members never matters.
        placed.sort { left, right in
            guard left.point == right.point else { return left.point < right.point }
            return members[Int(left.owner)].name < members[Int(right.owner)].name
        }
        let points = placed.map(\.point)
        self.points = points
        owners = placed.map(\.owner)
        // One to two starts per point, so that a lookup passes about one point.
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

    /// The index in ``members`` of the node that keeps a key.
    public func owner(of key: Span<UInt8>) -> Int {
        let hash = StableHash.of(key)
        var index = Int(starts[Int(hash >> shift)])
        while index < points.count, points[index] < hash { index += 1 }
        return Int(owners[index == points.count ? 0 : index])
    }

    private static func shares(of count: Int, points: [UInt64], owners: [UInt16]) -> [Double] {
        var lengths = [Double](repeating: 0, count: count)
        // The first arc wraps around from the last point; the others run from each point to the next.
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

/// The hash that places keys and points on the ring: the same in every process and every release.
enum StableHash {
    /// SipHash-1-3 with an all-zero key.
    static func of(_ bytes: Span<UInt8>) -> UInt64 {
        SipHash(key: (low: 0, high: 0))(bytes)
    }
}
