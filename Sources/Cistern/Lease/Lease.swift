/// What one server knows of one organisation: the tokens that it holds, and what the store last said.
///
/// A state machine without IO: requests and answers go in, decisions and amounts come out. At most one request for an
/// organisation is in flight, and only the answer to that one counts; whatever else arrives is the store's to expire.
struct Lease: Sendable, BitwiseCopyable {
    let limit: Limit
    /// Leased tokens that are left and not spoken for, in whole tokens.
    private(set) var held = 0
    /// Leased tokens set aside for the requests that wait for the answer in flight.
    private(set) var reserved = 0
    /// When they lapse.
    private var expiresAt: Instant
    /// The store's balance as last told, refilled since as if nobody else took from it.
    ///
    /// So it says when to ask again, never too late but for what others give back; it is no right to spend.
    private var balance: TokenBucket
    /// Until when that may be taken for a denial: others may give back what nobody here knows of.
    private var denialEndsAt: Instant
    /// When a token was last spent here.
    private var spentAt: Instant
    private var demand: Demand
    /// What was held when the last answer came, to know what has been spent since.
    private var heldAtGrant = 0
    /// The number of the last request.
    private(set) var sequence: UInt64 = 0
    /// Whether a request is in flight.
    private(set) var isAsking = false

    /// An organisation of which nothing is known: as far as this server can tell its bucket is full.
    init(limit: Limit, now: Instant) {
        self.limit = limit
        expiresAt = now
        balance = TokenBucket(full: limit, nowMilliseconds: now.milliseconds)
        denialEndsAt = now
        spentAt = now
        demand = Demand(now: now)
    }

    /// The best knowledge of the global balance: what the store had, and what is held here.
    private var knownMicrotokens: Int64 {
        min(limit.capacityMicrotokens, balance.microtokens &+ Int64(held) &* Limit.microtokensPerToken)
    }

    // MARK: Deciding

    /// Decides from memory: from tokens held, or because the store has said that it cannot pay yet.
    ///
    /// Returns nil where only the store can tell.
    @inline(__always)
    mutating func decide(costMicrotokens: Int64, now: Instant, tally: inout LeaseTokenTally) -> Decision? {
        expire(now: now, tally: &tally)
        balance.refill(limit, nowMilliseconds: now.milliseconds)
        let heldMicrotokens = Int64(held) &* Limit.microtokensPerToken
        if costMicrotokens <= heldMicrotokens {
            let cost = Int(costMicrotokens / Limit.microtokensPerToken)
            held &-= cost
            // Another thread may have read the clock later and taken the lock earlier.
            spentAt = max(spentAt, now)
            tally.spent &+= UInt64(cost)
            return .allowed(limit, balanceMicrotokens: knownMicrotokens, at: now)
        }
        guard !isAsking, now < denialEndsAt, balance.microtokens &+ heldMicrotokens < costMicrotokens else {
            return nil
        }
        return denial(costMicrotokens: costMicrotokens, now: now)
    }

    /// The answer to a request that the store was asked for and could not pay.
    func denial(costMicrotokens: Int64, now: Instant) -> Decision {
        .denied(limit, balanceMicrotokens: knownMicrotokens, costMicrotokens: costMicrotokens, at: now)
    }

    /// Forgets tokens whose time has run out; the store counts them as spent.
    @inline(__always)
    private mutating func expire(now: Instant, tally: inout LeaseTokenTally) {
        guard held > 0, now >= expiresAt else { return }
        tally.expired &+= UInt64(held)
        heldAtGrant &-= held
        held = 0
    }

    // MARK: Asking

    /// How much to ask for; the request that carries it must be sent.
    struct Ask: Equatable {
        var held: Int
        var quietMilliseconds: Int64
        var returned = 0
        var ahead = 0
    }

    /// Asks for what waiting requests need beyond the tokens held, and for what is to come.
    ///
    /// What is held is set aside for them: nobody who comes later may spend it before they are answered.
    mutating func ask(waitingTokens: Int, sequence: UInt64, settings: LeaseSettings, now: Instant) -> Ask {
        demand.record(
            tokens: heldAtGrant - held + waitingTokens, memoryMilliseconds: settings.horizonMilliseconds, now: now)
        begin(sequence)
        reserved = held
        held = 0
        return Ask(
            held: reserved, quietMilliseconds: settings.certainMilliseconds(from: spentAt, to: now),
            ahead: demand.tokensAhead(limit: limit, settings: settings))
    }

    /// Gives back all that is held; nil where that is nothing, or while a request is in flight.
    mutating func giveBack(
        sequence: UInt64, settings: LeaseSettings, now: Instant, tally: inout LeaseTokenTally
    ) -> Ask? {
        expire(now: now, tally: &tally)
        guard !isAsking, held > 0 else { return nil }
        tally.returned &+= UInt64(held)
        let returned = held
        held = 0
        begin(sequence)
        let quiet = settings.certainMilliseconds(from: spentAt, to: now)
        return Ask(held: 0, quietMilliseconds: quiet, returned: returned)
    }

    private mutating func begin(_ sequence: UInt64) {
        precondition(!isAsking, "one request at a time for an organisation")
        self.sequence = sequence
        isAsking = true
        heldAtGrant = held
    }

    // MARK: Answers

    /// Takes in the answer to the request in flight.
    ///
    /// Where the store knew of less than was set aside, the rest has lapsed there and must not be spent here.
    mutating func settle(
        _ grant: Grant, sentAt: Instant, settings: LeaseSettings, tally: inout LeaseTokenTally
    ) {
        isAsking = false
        tally.expired &+= UInt64(reserved - grant.held)
        tally.granted &+= UInt64(grant.tokens)
        held = grant.held + grant.tokens
        reserved = 0
        heldAtGrant = held
        expiresAt = settings.expiry(sentAt: sentAt)
        denialEndsAt = expiresAt
        // The store looked at its clock after the request was sent. Counting from then finds the next token too
        // early rather than too late, and too early only means to ask once more.
        balance = TokenBucket(
            microtokens: max(0, min(grant.balanceMicrotokens, limit.capacityMicrotokens)),
            asOfMilliseconds: sentAt.milliseconds)
    }

    /// The request in flight will not be answered, or its answer will not be heeded.
    mutating func fail(now: Instant) {
        isAsking = false
        held += reserved
        reserved = 0
        // Nothing is known now; the next shortage asks.
        balance = TokenBucket(full: limit, nowMilliseconds: now.milliseconds)
    }

    /// Whether forgetting this organisation loses nothing: no tokens, no request in flight.
    func isIdle(now: Instant) -> Bool {
        !isAsking && (held == 0 || now >= expiresAt)
    }
}
