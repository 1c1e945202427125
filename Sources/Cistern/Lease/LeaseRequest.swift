/// A server's request to the store for one key: it asks for tokens and reports on those leased before.
///
/// Amounts are whole tokens, so that a lease never strands a fraction that no request can use.
public struct LeaseRequest: Sendable, Equatable {
    /// The bytes of the key.
    public package(set) var key: [UInt8]
    /// The partition of the key's bucket.
    public package(set) var partition: PartitionID
    /// The key's limit.
    public package(set) var limit: Limit
    /// The lessee: an ID for one run of one server, never used again.
    public package(set) var lesseeID: String
    /// A number that increases with each request of this lessee for this key.
    ///
    /// The store ignores a request unless its number is higher than the last applied one. So a late or duplicate
    /// request changes nothing.
    public package(set) var sequence: UInt64
    /// The number of the last request whose reply the lessee applied.
    ///
    /// The lessee has not used tokens granted to later requests, and never will. The store takes them back.
    public package(set) var acknowledged: UInt64
    /// Tokens of earlier grants that the lessee still holds.
    ///
    /// The store lowers its record to this number; the difference counts as spent unless it is returned.
    public package(set) var held: Int
    /// A lower bound of the time since the lessee last spent a token, in milliseconds.
    ///
    /// Since then, the spent tokens have left room in the bucket, and the store refills that room. Without this field,
    /// a token spent long ago would count as leased until now, and a server that leases alone would lose the refill
    /// since then.
    public package(set) var millisecondsSinceLastSpend: Int64
    /// Tokens that had already been spent ``halfSpentMilliseconds`` ago: about half of the earlier grants.
    ///
    /// With this number the store credits overflow: later refill that found no room because these tokens were on
    /// record.
    public package(set) var halfSpentTokens: Int
    /// A lower bound of the time since ``halfSpentTokens`` had been spent, in milliseconds.
    public package(set) var halfSpentMilliseconds: Int64
    /// Tokens that the lessee returns, in addition to `held`.
    ///
    /// The store credits at most the tokens that it still has on record.
    public package(set) var returned: Int
    /// The waiting requests, in order of arrival; empty if the lessee only returns tokens.
    ///
    /// The store pays them from `held` and its balance, one after the other, each in full or not at all.
    public package(set) var waiting: [WaitingRun]
    /// The requested prefetch tokens, on top of the costs of the waiting requests.
    public package(set) var requested: RequestedLease
    /// How long the store keeps the lessee's tokens on record after it applies the request, in milliseconds.
    public package(set) var durationMilliseconds: Int64
    /// When the request was sent.
    ///
    /// The lessee measures the lease from this instant, the store from a later one.
    public package(set) var sentAt: Instant
    /// When the lessee stops waiting for the reply.
    public package(set) var deadline: Instant

    /// Creates a request, for tests of a store.
    public init(
        key: [UInt8], partition: PartitionID = .only, limit: Limit, lesseeID: String, sequence: UInt64,
        acknowledged: UInt64, held: Int, millisecondsSinceLastSpend: Int64, halfSpentTokens: Int,
        halfSpentMilliseconds: Int64,
        returned: Int, waiting: [WaitingRun], requested: RequestedLease, durationMilliseconds: Int64, sentAt: Instant,
        deadline: Instant
    ) {
        self.key = key
        self.partition = partition
        self.limit = limit
        self.lesseeID = lesseeID
        self.sequence = sequence
        self.acknowledged = acknowledged
        self.held = held
        self.millisecondsSinceLastSpend = millisecondsSinceLastSpend
        self.halfSpentTokens = halfSpentTokens
        self.halfSpentMilliseconds = halfSpentMilliseconds
        self.returned = returned
        self.waiting = waiting
        self.requested = requested
        self.durationMilliseconds = durationMilliseconds
        self.sentAt = sentAt
        self.deadline = deadline
    }
}

/// A run of consecutive waiting requests with the same cost.
public struct WaitingRun: Sendable, Equatable {
    /// The cost of each request, in tokens.
    public package(set) var cost: Int
    /// The number of requests.
    public var count: Int

    /// Creates a run of `count` requests of `cost` tokens each.
    public init(cost: Int, count: Int) {
        self.cost = cost
        self.count = count
    }
}

extension LeaseRequest {
    /// The tokens that must be granted to pay all waiting requests.
    public var missingTokens: Int {
        max(0, waiting.reduce(0) { $0 + $1.cost * $1.count } - held)
    }
}

/// The store's reply to a ``LeaseRequest``.
public struct Grant: Sendable, Equatable {
    /// Tokens that may be spent at once, 0 to the capacity.
    public var tokens: Int
    /// The lessee's tokens on record before the grant; at most the reported ``LeaseRequest/held``.
    ///
    /// A lower number means that the store has forgotten tokens, and the lessee must forget them too.
    public var held: Int
    /// The tokens that the store could still grant to another lessee, in units; may be below 0.
    public var openUnits: Int64
    /// Tokens of the trickle grant: they arrive out of the refill over ``trickleMilliseconds``.
    ///
    /// The lessee spends them no sooner than they arrive.
    ///
    /// A trickle grant also means that the lessee has its full part of the open balance and of the refill in that time.
    /// The rest is for other lessees.
    public var trickleTokens: Int
    /// The time over which the trickle grant arrives, in milliseconds from the arrival of the reply.
    public var trickleMilliseconds: Int64
    /// How fast ``openUnits`` grows while the trickle grants of all lessees run, in units per millisecond.
    public var openRefillUnitsPerMillisecond: Int64
    /// Tokens on record for all lessees, after this grant.
    public var outstanding: Int
    /// How many lessees have a lease of the key, the requesting one included.
    public var lessees: Int

    /// Creates a reply; by default it has no trickle grant, and its lessee is the only one.
    public init(
        tokens: Int, held: Int, openUnits: Int64, trickleTokens: Int = 0, trickleMilliseconds: Int64 = 0,
        openRefillUnitsPerMillisecond: Int64, outstanding: Int, lessees: Int = 1
    ) {
        self.tokens = tokens
        self.held = held
        self.openUnits = openUnits
        self.trickleTokens = trickleTokens
        self.trickleMilliseconds = trickleMilliseconds
        self.openRefillUnitsPerMillisecond = openRefillUnitsPerMillisecond
        self.outstanding = outstanding
        self.lessees = lessees
    }
}

/// The reason why a lease request got no grant.
public enum LeaseFailure: Error, Sendable, Equatable {
    /// The node is known to be down, or went down before it replied.
    case unreachable
    /// No reply arrived by the deadline.
    case timedOut
    /// The maximum number of requests already waits for the node.
    case overloaded
    /// The store replied with this error.
    case rejected(String)
}

extension Grant {
    /// Whether the grant can be used: it arrived before its lease expires, and its numbers are in range.
    func isUsable(for request: LeaseRequest, settings: LeaseSettings, now: Instant) -> Bool {
        let capacity = request.limit.capacity
        let longestTrickle = min(settings.durationMilliseconds, TrickleGrant.longestMilliseconds)
        return now < settings.expiry(sentAt: request.sentAt) && 0...capacity ~= tokens && 0...request.held ~= held
            && 0...(capacity - tokens) ~= trickleTokens && (trickleTokens == 0) == (trickleMilliseconds <= 0)
            && 0...longestTrickle ~= trickleMilliseconds
            && openUnits.magnitude <= UInt64(Limit.maximumUnits)
            && 0...request.limit.refillUnitsPerMillisecond ~= openRefillUnitsPerMillisecond
            && 0...Limit.maximumCapacity ~= outstanding
    }
}
