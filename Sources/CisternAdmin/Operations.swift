package import Cistern
package import CisternCluster
package import CisternSupport

/// What the operators' plane asks of the server that it belongs to; whoever composes the server answers.
package protocol Operations: Sendable {
    /// Everything that is shown, as it is now.
    func snapshot() -> ServerSnapshot

    /// The organizations that are decided for most often, the busiest first.
    func busiest(_ most: Int, by order: BusiestOrder) -> [SpaceSavingSketch.Entry]

    /// One organization's limit and bucket.
    func organization(_ name: String) async -> OrganizationView

    /// Every override in force, by organization.
    func overridesInForce() -> [String: LimitOverrides.Entry]

    /// The last hundred things that happened to the server, the latest last.
    func journal() -> [JournalEntry]

    /// Notes that decisions went unmetered since the last call.
    func noteUnmetered(_ decisions: UInt64)

    /// The limit of an organization in force here.
    func limit(of organization: String) -> Limit

    /// Makes an organization's bucket full again, less what is leased of it.
    func fillBucket(of organization: String) async throws(OperationFailure)

    /// Sets a limit that overrides the others, or removes it.
    ///
    /// - Parameter lifeSeconds: how long it holds; nil for ever.
    func overrideLimit(
        of organization: String, with limit: Limit?, lifeSeconds: Int64?, by who: String
    ) async throws(OperationFailure) -> LimitOverrides.Entry

    /// Leases in another way from now on.
    func changeLease(to settings: LeaseSettings)
}

/// Something could not be done, and nothing has changed.
package struct OperationFailure: Error, CustomStringConvertible {
    /// Why, and what to do.
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}

/// One organization, as a server and its store have it.
package struct OrganizationView: Sendable {
    /// One server that leases of its bucket.
    package struct Lessee: Codable, Sendable, Equatable {
        package var name: String
        package var isThisServer: Bool
        package var tokens: Int
        package var endsInMilliseconds: Int64
        package var demandPerSecond: Double
        package var tricklePerSecond: Double
        package var askedMillisecondsAgo: Int64

        package init(
            name: String, isThisServer: Bool, tokens: Int, endsInMilliseconds: Int64, demandPerSecond: Double,
            tricklePerSecond: Double, askedMillisecondsAgo: Int64
        ) {
            self.name = name
            self.isThisServer = isThisServer
            self.tokens = tokens
            self.endsInMilliseconds = endsInMilliseconds
            self.demandPerSecond = demandPerSecond
            self.tricklePerSecond = tricklePerSecond
            self.askedMillisecondsAgo = askedMillisecondsAgo
        }
    }

    /// The bucket in the store.
    package struct Bucket: Sendable, Equatable {
        package var node: String
        package var slot: Int?
        /// Whether there is one; one that is not there is full.
        package var isStored: Bool
        /// Tokens; below 0 by what has been promised of the refill to come.
        package var balance: Double
        package var outstanding: Int
        package var lessees: [Lessee]

        package init(
            node: String, slot: Int?, isStored: Bool, balance: Double, outstanding: Int, lessees: [Lessee]
        ) {
            self.node = node
            self.slot = slot
            self.isStored = isStored
            self.balance = balance
            self.outstanding = outstanding
            self.lessees = lessees
        }
    }

    package var limit: Limit
    /// `default`, `file` or `override`.
    package var limitSource: String
    /// What was last said of its limit; nil where no override is in force.
    package var override: LimitOverrides.Entry?
    /// Tokens leased by this server and not spent.
    package var leasedTokens: Int
    /// The bucket, or why it cannot be looked at.
    package var bucket: Result<Bucket, OperationFailure>

    package init(
        limit: Limit, limitSource: String, override: LimitOverrides.Entry?, leasedTokens: Int,
        bucket: Result<Bucket, OperationFailure>
    ) {
        self.limit = limit
        self.limitSource = limitSource
        self.override = override
        self.leasedTokens = leasedTokens
        self.bucket = bucket
    }
}
