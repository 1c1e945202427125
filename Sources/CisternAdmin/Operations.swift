package import Cistern
package import CisternCluster
package import CisternSupport

/// The operations of a server that the admin interface needs; `CisternServer` implements them.
package protocol Operations: Sendable {
    /// The current state of the server.
    func snapshot() -> ServerSnapshot

    /// Up to `most` organizations with the most decisions of one kind, busiest first.
    func topOrganizations(_ most: Int, by order: DecisionKind) -> [SpaceSavingSketch.Entry]

    /// One organization's limit and bucket.
    func organization(_ name: String) async -> OrganizationView

    /// Every override in force, by organization.
    func overridesInForce() -> [String: LimitOverrides.Entry]

    /// The last 100 events of the server, oldest first.
    func journal() -> [JournalEntry]

    /// Records how many decisions went unmetered since the last call.
    func noteUnmetered(_ decisions: UInt64)

    /// The limit of an organization that is in force on this server.
    func limit(of organization: String) -> Limit

    /// Refills an organization's bucket to its capacity, minus its leased tokens.
    func fillBucket(of organization: String) async throws(OperationFailure)

    /// Sets the override of an organization's limit; removes it if `limit` is nil.
    ///
    /// - Parameter lifeSeconds: seconds until the override expires; nil for no expiry.
    func overrideLimit(
        of organization: String, with limit: Limit?, lifeSeconds: Int64?, by who: String
    ) async throws(OperationFailure) -> LimitOverrides.Entry

    /// Changes the lease settings, from the next store request on.
    func changeLease(to settings: LeaseSettings)
}

/// An operation that failed and changed nothing.
package struct OperationFailure: Error, CustomStringConvertible {
    /// The reason and the remedy.
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}

/// The state of one organization on a server and in its store.
package struct OrganizationView: Sendable {
    /// The bucket in the store.
    package struct Bucket: Sendable, Equatable {
        package var node: String
        package var slot: Int?
        /// Whether the store has a record of the bucket; without a record the bucket is full.
        package var isStored: Bool
        /// Balance in tokens; a negative balance is the number of tokens promised from future refill.
        package var balance: Double
        package var outstanding: Int
        package var lessees: [LesseeRecord]

        package init(
            node: String, slot: Int?, isStored: Bool, balance: Double, outstanding: Int, lessees: [LesseeRecord]
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
    /// The source of the limit: `default`, `file` or `override`.
    package var limitSource: String
    /// The override in force; nil if there is none.
    package var override: LimitOverrides.Entry?
    /// Tokens leased by this server and not spent.
    package var leasedTokens: Int
    /// The bucket, or why it cannot be read.
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
