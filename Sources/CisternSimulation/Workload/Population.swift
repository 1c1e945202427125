/// Organizations that differ in how much they are asked for, in groups of which one each is simulated.
///
/// Organizations share nothing but the store's time: one's bucket and leases do not touch another's. So what one of a
/// group comes to, all of the group come to, each on its own, and the group's figures are that many times as large.
package struct Population: Sendable, Equatable {
    /// Organizations that are asked for about as much.
    package struct Group: Sendable, Equatable {
        /// How many they are.
        package let count: Int
        /// What each of them is asked for, in multiples of what an organization is on average.
        package var load: Double
    }

    /// From the busiest to the quietest; the first is a single organization.
    package let groups: [Group]
    /// How many organizations are asked for more than is simulated.
    package let limited: Int

    /// How many organizations there are.
    package var keys: Int { groups.reduce(0) { $0 + $1.count } }

    /// What those that are simulated are asked for together, in multiples of what an organization is on average.
    package var totalLoad: Double { groups.reduce(0) { $0 + $1.load } }

    /// Organizations of which the i-th busiest is asked for 1/i^exponent as much as the busiest (Zipf).
    ///
    /// - Parameters:
    ///   - exponent: 0 for all alike.
    ///   - groups: how many groups at most.
    ///   - most: what nobody is asked for more than, in multiples of what an organization is on average.
    package init(keys: Int, exponent: Double, groups: Int, most: Double = .infinity) {
        precondition(keys >= 1 && groups >= 1, "somebody is asked for something")
        let weights = (1...keys).map { rank in
            exponent == 0 ? 1 : exponential(-exponent * logarithm(Double(rank)))
        }
        let mean = weights.reduce(0, +) / Double(keys)
        let loads = weights.map { min($0 / mean, most) }
        let limited = loads.prefix { $0 == most }.count
        self.limited = limited
        var first = 0
        self.groups = Self.ends(keys, alike: exponent == 0 ? keys : limited, groups: groups).map {
            end in
            defer { first = end }
            return Group(count: end - first, load: loads[first..<end].reduce(0, +) / Double(end - first))
        }
    }

    /// Groups of which each is so many times as large as the one before; further ones divide the largest.
    private static let growingGroups = 12

    /// The rank of the last organization of each group.
    ///
    /// The first is alone, then come those that are alike. Of the others the busy ones, which differ most, are in small groups
    /// and the quiet ones, of which there are many, in more groups than one: each group that stands for fewer makes chance
    /// count for less.
    private static func ends(_ keys: Int, alike: Int, groups: Int) -> [Int] {
        let count = min(groups, keys)
        guard count > 1 else { return [keys] }
        guard alike < keys else {
            return [1] + (2...count).map { 1 + (keys - 1) * ($0 - 1) / (count - 1) }
        }
        var ends = alike > 1 && count > 2 ? [1, alike] : [1]
        let start = ends.last ?? 1
        let growing = min(count - ends.count, growingGroups)
        let ratio = logarithm(Double(keys) / Double(start))
        for group in 1...growing {
            let end = Int((Double(start) * exponential(ratio * Double(group) / Double(growing))).rounded())
            // One of each group at least, and none beyond the last.
            if end > ends[ends.count - 1] { ends.append(min(end, keys)) }
        }
        ends[ends.count - 1] = keys
        while ends.count < count {
            let sizes = ends.indices.map { $0 == 0 ? 0 : ends[$0] - ends[$0 - 1] }
            let widest = sizes.indices.dropFirst(alike > 1 ? 2 : 1).max { sizes[$0] < sizes[$1] } ?? 0
            guard widest > 0, sizes[widest] > 1 else { break }
            ends.insert(ends[widest - 1] + sizes[widest] / 2, at: widest)
        }
        return ends
    }
}
