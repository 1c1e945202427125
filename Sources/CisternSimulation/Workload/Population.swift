/// Organisations that differ in how much they are asked for, in groups of which one each is simulated.
///
/// Organisations share nothing but the store's time: one's bucket and leases do not touch another's. So what one of a
/// group comes to, all of the group come to, each on its own, and the group's figures are that many times as large.
package struct Population: Sendable, Equatable {
    /// Organisations that are asked for about as much.
    package struct Group: Sendable, Equatable {
        /// How many they are.
        package let count: Int
        /// What each of them is asked for, in multiples of what an organisation is on average.
        package var load: Double
    }

    /// From the busiest to the quietest; the first is a single organisation.
    package private(set) var groups: [Group]

    /// How many organisations there are.
    package var organizations: Int { groups.reduce(0) { $0 + $1.count } }

    /// What those that are simulated are asked for together, in multiples of what an organisation is on average.
    package var totalLoad: Double { groups.reduce(0) { $0 + $1.load } }

    /// Organisations of which the i-th busiest is asked for 1/i^exponent as much as the busiest (Zipf).
    ///
    /// - Parameters:
    ///   - exponent: 0 for all alike.
    ///   - groups: how many groups at most. With skew they hold the more organisations the quieter those are, each group
    ///     so many times as many as the one before it.
    package init(organizations: Int, exponent: Double, groups: Int) {
        precondition(organizations >= 1 && groups >= 1, "somebody is asked for something")
        let weights = (1...organizations).map { rank in
            exponent == 0 ? 1 : exponential(-exponent * logarithm(Double(rank)))
        }
        let mean = weights.reduce(0, +) / Double(organizations)
        var first = 0
        self.groups = Self.ends(organizations: organizations, isEven: exponent == 0, groups: groups).map { end in
            defer { first = end }
            let load = weights[first..<end].reduce(0, +) / Double(end - first) / mean
            return Group(count: end - first, load: load)
        }
    }

    /// The rank of the last organisation of each group.
    private static func ends(organizations: Int, isEven: Bool, groups: Int) -> [Int] {
        let count = min(groups, organizations)
        guard count > 1 else { return [organizations] }
        var ends = [1]
        for group in 2...count {
            let end =
                isEven
                ? 1 + (organizations - 1) * (group - 1) / (count - 1)
                : Int(exponential(logarithm(Double(organizations)) * Double(group) / Double(count)).rounded())
            // One of each group at least, and enough left for those that follow.
            ends.append(max((ends.last ?? 0) + 1, min(end, organizations - (count - group))))
        }
        ends[count - 1] = organizations
        return ends
    }

    /// The same, with nobody asked for more than so many times what an organisation is on average.
    package func limited(to most: Double) -> Population {
        var limited = self
        for index in groups.indices { limited.groups[index].load = min(groups[index].load, most) }
        return limited
    }
}
