/// What a server asks of the store for one organization: tokens ahead of use, and what became of those it had.
///
/// Amounts are whole tokens, so that a lease never strands a fraction that no request can use.
public struct LeaseRequest: Sendable, Equatable {
    /// The organization's name, in UTF-8.
    public package(set) var key: [UInt8]
    /// Where its bucket is.
    public package(set) var partition: PartitionID
    /// The limit that holds for it.
    public package(set) var limit: Limit
    /// Who asks: one name for each run of each server, never used again.
    public package(set) var lesseeID: String
    /// Counts this lessee's requests for this organization up.
    ///
    /// The store acts on a number once and only on higher ones after it, so a request that arrives late or twice
    /// changes nothing.
    public package(set) var sequence: UInt64
    /// The number of the last request whose answer was taken in.
    ///
    /// What the store granted after it has never come into use and never will: the store takes it back.
    public package(set) var acknowledged: UInt64
    /// Tokens of earlier grants that the lessee still holds.
    ///
    /// The store's record of it is lowered to this: the difference is spent.
    public package(set) var held: Int
    /// For how long at least the lessee has held no more than `held` and `returned`: the store may refill, from then
    /// on, the room that spending left.
    ///
    /// Without it a token spent long ago would look leased until now, and a server alone would lose what flowed in
    /// meanwhile.
    public package(set) var unspentMilliseconds: Int64
    /// Tokens of the earlier grants that had been spent ``halfSpentMilliseconds`` ago already; about half of them.
    ///
    /// With it the store makes good what it did not let flow in since, for want of the room that they had left.
    public package(set) var halfSpentTokens: Int
    /// For how long at least those have been spent.
    public package(set) var halfSpentMilliseconds: Int64
    /// Tokens given back, on top of `held`.
    ///
    /// The store credits at most what it still has on record.
    public package(set) var returned: Int
    /// The requests that wait, in their order; none for a pure give-back.
    ///
    /// The store pays them out of `held` and its balance one after the other, each in full or not at all.
    public package(set) var waiting: [WaitingCost]
    /// What is wanted ahead of use, once all that waits is paid.
    public package(set) var requested: RequestedLease
    /// How long the store keeps tokens on record for this lessee, from when it acts on the request.
    public package(set) var durationMilliseconds: Int64
    /// When the request left.
    ///
    /// The lessee counts the lease from here, the store from later.
    public package(set) var sentAt: Instant
    /// When the lessee stops waiting for the answer.
    public package(set) var deadline: Instant

    package init(
        key: [UInt8], partition: PartitionID = .only, limit: Limit, lesseeID: String, sequence: UInt64,
        acknowledged: UInt64, held: Int, unspentMilliseconds: Int64, halfSpentTokens: Int, halfSpentMilliseconds: Int64,
        returned: Int, waiting: [WaitingCost], requested: RequestedLease, durationMilliseconds: Int64, sentAt: Instant,
        deadline: Instant
    ) {
        self.key = key
        self.partition = partition
        self.limit = limit
        self.lesseeID = lesseeID
        self.sequence = sequence
        self.acknowledged = acknowledged
        self.held = held
        self.unspentMilliseconds = unspentMilliseconds
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

/// Requests that wait one behind the other and cost the same.
public struct WaitingCost: Sendable, Equatable {
    /// Tokens that each of them takes.
    public package(set) var cost: Int
    /// How many they are.
    public var count: Int

    package init(cost: Int, count: Int) {
        self.cost = cost
        self.count = count
    }
}

extension LeaseRequest {
    /// Tokens that would have to be granted for everything that waits to be paid.
    public var needed: Int {
        max(0, waiting.reduce(0) { $0 + $1.cost * $1.count } - held)
    }
}

/// The store's answer to a ``LeaseRequest``.
public struct Grant: Sendable, Equatable {
    /// Tokens granted to be spent at once, 0 to the capacity.
    public var tokens: Int
    /// What the store had on record for the lessee before the grant, at most the `held` that was reported.
    ///
    /// Less than that means that the store has forgotten tokens, and the lessee must forget them too.
    public var held: Int
    /// What the store could still grant to somebody else, after this grant; it may be below 0.
    public var openMicrotokens: Int64
    /// Tokens granted as a pace: out of what flows in over ``trickleMilliseconds``, and to be spent no faster.
    ///
    /// A store that grants a pace says with it that the lessee has its share: of what is still open, and of what flows
    /// in meanwhile, the rest is for others.
    public var trickleTokens: Int
    /// How long the paced tokens take to come, in milliseconds from when the answer arrives.
    public var trickleMilliseconds: Int64
    /// How fast ``openMicrotokens`` grows as long as the lessees' paces go on, in microtokens a millisecond.
    public var openRefillMicrotokensPerMillisecond: Int64
    /// Tokens on record for all lessees, after this grant.
    public var outstanding: Int

    /// Creates an answer; without a pace it is one for tokens at once.
    public init(
        tokens: Int, held: Int, openMicrotokens: Int64, trickleTokens: Int = 0, trickleMilliseconds: Int64 = 0,
        openRefillMicrotokensPerMillisecond: Int64, outstanding: Int
    ) {
        self.tokens = tokens
        self.held = held
        self.openMicrotokens = openMicrotokens
        self.trickleTokens = trickleTokens
        self.trickleMilliseconds = trickleMilliseconds
        self.openRefillMicrotokensPerMillisecond = openRefillMicrotokensPerMillisecond
        self.outstanding = outstanding
    }
}

/// Why a lease request was not answered.
public enum LeaseFailure: Error, Sendable, Equatable {
    /// The node is known to be down, or went down before it answered.
    case unreachable
    /// No answer came by the deadline.
    case timedOut
    /// The node has as many requests waiting as it may.
    case overloaded
    /// The store answered with an error.
    case rejected(String)
}

extension Grant {
    /// Whether the grant can be used: it has not expired on its way, and its numbers are in range.
    func isUsable(for request: LeaseRequest, settings: LeaseSettings, now: Instant) -> Bool {
        let capacity = request.limit.capacity
        let longestTrickle = min(settings.durationMilliseconds, TrickleGrant.longestMilliseconds)
        return now < settings.expiry(sentAt: request.sentAt) && 0...capacity ~= tokens && 0...request.held ~= held
            && 0...(capacity - tokens) ~= trickleTokens && (trickleTokens == 0) == (trickleMilliseconds <= 0)
            && 0...longestTrickle ~= trickleMilliseconds
            && openMicrotokens.magnitude <= UInt64(Limit.maximumCapacity) * UInt64(Limit.microtokensPerToken)
            && 0...request.limit.refillMicrotokensPerMillisecond ~= openRefillMicrotokensPerMillisecond
            && 0...Limit.maximumCapacity ~= outstanding
    }
}
