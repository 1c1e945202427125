/// What one server knows of one organisation: the tokens that it holds, and what the store last said.
///
/// A state machine without IO: requests and answers go in, decisions and amounts come out. At most one request for an
/// organisation is in flight, and only the answer to that one counts; whatever else arrives is the store's to expire.
struct Lease: Sendable, BitwiseCopyable {
    private(set) var limit: Limit
    /// Where the bucket is that all of this is about.
    private(set) var home: BucketHome
    /// Leased tokens that are left and not spoken for, in whole tokens.
    private(set) var held = 0
    /// Leased tokens set aside for the requests that wait for the answer in flight.
    private(set) var reserved = 0
    /// Tokens that come one after the other.
    private(set) var pace = Pace()
    /// When all of them lapse.
    private var expiresAt: Instant
    private var word: StoreWord
    /// When a token was last spent here.
    private(set) var spentAt: Instant
    /// The latest instant that was seen here.
    ///
    /// A thread may read the clock, stall, and take the lock after others have decided for later instants: what it
    /// decides then counts for the latest of these, or it would spend tokens that had not been granted yet.
    private var latest: Instant
    /// Tokens spent since the last request left.
    private var spent = 0
    /// When ``spent`` reaches this, ``early`` is noted.
    private var earlyMark = Int.max
    /// How much had been spent when about half of the lease had been, and when that was.
    private var early: (tokens: Int, at: Instant) = (0, .never)
    private var demand: Demand
    /// Tokens asked for here since demand was last measured; below 0 by those that were counted while they waited.
    private var wanted = 0
    /// What the request in flight said was held.
    private var reported = 0
    /// Whether the store has tokens on record for this lessee that may have been spent since its last answer.
    private var isOnRecord = false
    /// Whether so much is on record there, of all lessees, that refill will stop for want of room before it lapses.
    private var isCrowded = false
    /// Whether the last request wished for tokens ahead of use.
    private var isAhead = false
    /// The lease is renewed as soon as fewer tokens than this are held.
    private var renewBelow = 0
    /// The lease is renewed from then on.
    private var renewAt = Instant.never
    /// The number of the last request.
    private(set) var sequence: UInt64 = 0
    /// The number of the last request whose answer was taken in.
    private(set) var acknowledged: UInt64
    /// Whether a request is in flight.
    private(set) var isAsking = false
    /// Whether the lessee looks after this lease's falling idle.
    var isWatched = false

    /// An organisation of which nothing is known: as far as this server can tell its bucket is full.
    ///
    /// - Parameters:
    ///   - sequence: the last that was used for any organisation. If it was for this one, before it was forgotten, its
    ///     answer was taken in, and the tokens may have been spent.
    ///   - spentAt: when a token of this organisation can last have been spent here, before it was forgotten.
    init(
        limit: Limit, home: BucketHome = .only, sequence: UInt64 = 0, spentAt: Instant = Instant(nanoseconds: 0),
        now: Instant
    ) {
        self.limit = limit
        self.home = home
        acknowledged = sequence
        expiresAt = now
        word = StoreWord(unknown: limit, now: now)
        self.spentAt = spentAt
        latest = now
        demand = Demand(now: now)
    }

    /// Tokens that are on record at the store and have not been spent, as far as this server knows.
    var leased: Int { held &+ reserved &+ pace.coming }

    /// Those that have not lapsed by now, whether that has been noticed or not.
    func leased(now: Instant) -> Int { now < expiresAt ? leased : 0 }

    /// Whether the store should hear of this organisation again even if no request comes: to have tokens back, or
    /// because refill would stop while spent tokens are on record.
    var isWorthReporting: Bool {
        leased > 0 || isOnRecord && isCrowded
    }

    /// The best knowledge of the global balance: what the store had, and what is held here.
    private var knownMicrotokens: Int64 {
        min(limit.capacityMicrotokens, max(0, word.openMicrotokens) &+ Int64(held) &* Limit.microtokensPerToken)
    }

    // MARK: Deciding

    /// Decides from memory: from tokens held, or because the store has said that it cannot pay yet.
    ///
    /// Returns nil where only the store can tell.
    @inline(__always)
    mutating func decide(
        costMicrotokens: Int64, settings: LeaseSettings, now: Instant, tally: inout LeaseTokenTally
    ) -> Decision? {
        let now = advance(settings: settings, now: now, tally: &tally)
        let heldMicrotokens = Int64(held) &* Limit.microtokensPerToken
        if costMicrotokens <= heldMicrotokens {
            let cost = Int(costMicrotokens / Limit.microtokensPerToken)
            held &-= cost
            wanted &+= cost
            spentAt = now
            spent &+= cost
            if spent >= earlyMark { noteEarly() }
            tally.spent &+= UInt64(cost)
            return .allowed(limit, balanceMicrotokens: knownMicrotokens, at: now)
        }
        guard !isAsking, word.forbids(costMicrotokens &- heldMicrotokens, now: now) else { return nil }
        return deny(costMicrotokens: costMicrotokens, now: now)
    }

    private mutating func noteEarly() {
        early = (spent, spentAt)
        earlyMark = .max
    }

    /// The answer to a request that the store was asked for and could not pay.
    mutating func deny(costMicrotokens: Int64, now: Instant) -> Decision {
        wanted &+= Int(costMicrotokens / Limit.microtokensPerToken)
        let missing =
            min(costMicrotokens, limit.capacityMicrotokens) &- Int64(held) &* Limit.microtokensPerToken
        let tokens = Int((max(0, missing) + Limit.microtokensPerToken - 1) / Limit.microtokensPerToken)
        let byPace = pace.millisecondsUntil(tokens, now: now) ?? .max
        return .denied(
            limit, balanceMicrotokens: knownMicrotokens,
            retryAfterMilliseconds: min(byPace, word.millisecondsUntil(missing, limit: limit, now: now)), at: now)
    }

    /// Lets time pass: paced tokens come, and a lease whose time has run out is forgotten; the store counts it as spent.
    ///
    /// Returns the instant that it has become: no earlier than one seen before.
    @inline(__always)
    private mutating func advance(settings: LeaseSettings, now: Instant, tally: inout LeaseTokenTally) -> Instant {
        let now = max(now, latest)
        latest = now
        word.refill(limit, now: now)
        if pace.coming > 0 { held &+= pace.arrive(settings: settings, now: now) }
        guard now >= expiresAt else { return now }
        tally.expired &+= UInt64(held &+ pace.coming)
        held = 0
        isOnRecord = false
        pace = Pace()
        return now
    }

    // MARK: Asking

    /// How much to ask for; the request that carries it must be sent.
    struct Ask: Equatable {
        var held: Int
        var quietMilliseconds: Int64
        var earlySpent = 0
        var earlyMilliseconds: Int64 = 0
        var returned = 0
        var wish = LeaseWish.none
    }

    /// Whether it is time to ask for more before the tokens run out.
    @inline(__always)
    func isRunningDry(now: Instant) -> Bool {
        (held &+ pace.coming < renewBelow || now >= renewAt) && !isAsking
    }

    /// Asks for what waiting requests need beyond the tokens held, and for what is to come.
    ///
    /// Where requests wait, what is held is set aside for them: nobody who comes later may spend it before they are
    /// answered. What has not come of a pace goes back and is asked for anew.
    mutating func ask(
        waitingTokens: Int, sequence: UInt64, sizing: some LeaseSizing, settings: LeaseSettings, now: Instant,
        tally: inout LeaseTokenTally
    ) -> Ask {
        let now = advance(settings: settings, now: now, tally: &tally)
        demand.record(tokens: wanted + waitingTokens, settings: settings, now: now)
        // They are counted now, and will be once more when they are decided.
        wanted = -waitingTokens
        let returned = pace.coming
        pace = Pace()
        tally.returned &+= UInt64(returned)
        var ask = begin(sequence, settings: settings, now: now)
        if waitingTokens > 0 {
            reserved = held
            held = 0
        }
        let use = LeaseUse(
            limit: limit, demandPerSecond: demand.tokensPerSecond, held: max(0, reported - waitingTokens))
        let wish = sizing.wish(for: use, settings: settings).bounded(by: settings)
        isAhead = wish.ahead > 0
        ask.returned = returned
        ask.wish = wish
        return ask
    }

    /// Gives back all that is held and to come; nil where there is nothing to tell, or while a request is in flight.
    ///
    /// - Parameter isForced: whether the store is told even where it will learn in good time.
    mutating func giveBack(
        sequence: UInt64, isForced: Bool, settings: LeaseSettings, now: Instant, tally: inout LeaseTokenTally
    ) -> Ask? {
        let now = advance(settings: settings, now: now, tally: &tally)
        guard !isAsking, isWorthReporting || isForced && isOnRecord else { return nil }
        let returned = leased
        tally.returned &+= UInt64(returned)
        held = 0
        pace = Pace()
        isAhead = false
        var ask = begin(sequence, settings: settings, now: now)
        ask.returned = returned
        return ask
    }

    /// The organisation's bucket is another one from now on: forgets everything that was about the old one.
    ///
    /// What is held should be given back there first; the answer to that is not heeded.
    mutating func move(to home: BucketHome, now: Instant) {
        precondition(reserved == 0, "a bucket is left while nobody waits for it")
        self.home = home
        isAsking = false
        held = 0
        pace = Pace()
        isOnRecord = false
        isAhead = false
        renewBelow = 0
        renewAt = .never
        word = StoreWord(unknown: limit, now: now)
    }

    /// Another limit holds from now on: what the store said under the old one counts for nothing, and what it granted
    /// under a higher one is not spent.
    ///
    /// Tokens set aside for those that wait stay. The store learns of the others when it is next asked, or when they lapse
    /// there.
    mutating func change(to limit: Limit, from old: Limit, now: Instant, tally: inout LeaseTokenTally) {
        self.limit = limit
        forgetWord(now: now)
        guard limit.isLower(than: old) else { return }
        tally.expired &+= UInt64(held &+ pace.coming)
        held = 0
        pace = Pace()
    }

    /// Nothing that the store said counts any more; the next shortage asks.
    mutating func forgetWord(now: Instant) {
        word = StoreWord(unknown: limit, now: now)
    }

    /// A token was spent here that was not leased.
    mutating func noteSpending(now: Instant) {
        spentAt = max(spentAt, now)
    }

    /// What every request reports: what is held, and since when.
    private mutating func begin(_ sequence: UInt64, settings: LeaseSettings, now: Instant) -> Ask {
        precondition(!isAsking, "one request at a time for an organisation")
        self.sequence = sequence
        isAsking = true
        reported = held
        renewBelow = 0
        renewAt = .never
        defer {
            spent = 0
            early = (0, .never)
            earlyMark = .max
        }
        return Ask(
            held: held, quietMilliseconds: settings.certainMilliseconds(from: spentAt, to: now),
            earlySpent: early.tokens, earlyMilliseconds: settings.certainMilliseconds(from: early.at, to: now))
    }

    // MARK: Answers

    /// Takes in the answer to the request in flight.
    ///
    /// Where the store knew of less than was reported, the rest has lapsed there and must not be spent here.
    mutating func settle(
        _ grant: Grant, sentAt: Instant, settings: LeaseSettings, now: Instant, tally: inout LeaseTokenTally
    ) {
        let now = max(now, latest)
        latest = now
        isAsking = false
        acknowledged = sequence
        let left = held + reserved
        let lapsed = min(left, reported - grant.held)
        tally.expired &+= UInt64(lapsed)
        tally.granted &+= UInt64(grant.tokens + grant.paced)
        held = left - lapsed + grant.tokens
        isOnRecord = grant.held + grant.tokens + grant.paced > 0
        isCrowded = isCrowded(grant, settings: settings)
        reserved = 0
        pace = Pace(tokens: grant.paced, milliseconds: grant.paceMilliseconds, startedAt: now)
        earlyMark = max(1, (spent + held + pace.tokens) / 2)
        expiresAt = settings.expiry(sentAt: sentAt)
        word = StoreWord(grant, sentAt: sentAt, limit: limit, expiresAt: expiresAt, settings: settings, now: now)
        guard isAhead else { return }
        guard settings.prefetchMilliseconds > 0 else { return }
        let perSecond = pace.tokens > 0 ? pace.tokensPerSecond : demand.tokensPerSecond
        let soon = Int((perSecond * Double(settings.prefetchMilliseconds) / 1000).rounded(.up))
        renewBelow = min(soon, (held + pace.tokens + 1) / 2)
        // Tokens that demand no longer takes are put on record anew before they lapse.
        renewAt = sentAt.advanced(byMilliseconds: settings.durationMilliseconds * 3 / 4)
    }

    private func isCrowded(_ grant: Grant, settings: LeaseSettings) -> Bool {
        let room = limit.capacityMicrotokens - Int64(grant.outstanding) * Limit.microtokensPerToken
        return grant.outstanding > limit.capacity / 16
            && limit.millisecondsToGain(room - max(0, grant.openMicrotokens)) < settings.durationMilliseconds
    }

    /// The request in flight will not be answered, or its answer will not be heeded.
    mutating func fail(now: Instant) {
        isAsking = false
        held += reserved
        reserved = 0
        wanted = 0
        forgetWord(now: now)
    }

    /// Whether forgetting this organisation loses nothing: no tokens, no request in flight.
    func isIdle(now: Instant) -> Bool {
        !isAsking && (leased == 0 || now >= expiresAt)
    }
}
