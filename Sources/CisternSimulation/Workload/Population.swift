/// Keys with different loads, in groups.
///
/// One key of each group is simulated.
///
/// Keys share only the store's processing time, because their buckets and leases are independent. So the results of
/// the simulated key apply to each key of its group. The group's totals are the key's totals times the group's size.
package struct Population: Sendable, Equatable {
    /// Keys with about the same load.
    package struct Group: Sendable, Equatable {
        /// The number of keys in the group.
        package let count: Int
        /// The load of each key, in multiples of the average load of a key.
        package var load: Double
    }

    /// The groups, busiest first.
    ///
    /// With more than one group, the first is a single key.
    package let groups: [Group]
    /// The number of keys whose load was cut to the maximum.
    package let limited: Int

    /// The number of keys in all groups.
    package var keys: Int { groups.reduce(0) { $0 + $1.count } }

    /// The total load of the simulated keys, in multiples of the average load of a key.
    package var totalLoad: Double { groups.reduce(0) { $0 + $1.load } }

    /// Creates a population in which the i-th busiest key has 1/i^exponent of the busiest key's load (Zipf).
    ///
    /// - Parameters:
    ///   - exponent: the Zipf exponent; 0 for equal loads.
    ///   - groups: the maximum number of groups.
    ///   - most: the maximum load of a key, in multiples of the average load of a key.
    package init(keys: Int, exponent: Double, groups: Int, most: Double = .infinity) {
        precondition(keys >= 1 && groups >= 1, "a population needs at least one key and one group")
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

    /// The maximum number of groups that grow by a constant factor; further groups split the largest ones.
    private static let growingGroups = 12

    /// The rank of the last key of each group: the busiest key, keys with equal load, then groups of growing size.
    ///
    /// Busy keys differ most, so their groups are small. Quiet keys get several groups, to reduce the effect of chance.
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
            // Each group has at least one key, and none ends beyond the last key.
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
