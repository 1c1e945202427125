/// What one server knows of one organization: the tokens that it holds, and what the store last said.
///
/// A state machine without IO: requests and answers go in, decisions and amounts come out. At most one request for an
/// organization is in flight, and only the answer to that one counts; whatever else arrives is the store's to expire.
///
/// A million of them are held, so the fields are as narrow as they can be, in an order that leaves none unused, and
/// what holds only between two requests shares its place with what holds only during one: 120 bytes. Tokens are at most
/// 10^9.
struct Lease: Sendable, BitwiseCopyable {
    /// The number of the last request whose answer was taken in.
    private(set) var acknowledged: UInt64
    private var demand: Demand
    /// ``wanted`` and the tokens held.
    private var wantedBasis: Int32 = 0
    var phase = LeasePhase.settled(LeaseTerms()) { didSet { fastPathFloor = computedFastPathFloor } }
    var notes = LeaseFlags() { didSet { fastPathFloor = computedFastPathFloor } }
    /// Where the bucket is that all of this is about.
    private(set) var partition: PartitionID
    /// Up to when ``estimate`` has been carried on; a payment that changes nothing else leaves that to whoever looks at it.
    var estimateAt: Instant { didSet { fastPathFloor = computedFastPathFloor } }
    var estimate: StoreBalanceEstimate
    /// ``spent`` and the tokens held, until that is noted; from then on ``spent`` alone.
    private var spentBasis: UInt32 = 0 { didSet { fastPathFloor = computedFastPathFloor } }
    var limit: Limit
    /// How long before its end the lease is renewed; 0 where that is not before it is needed.
    private var renewalMilliseconds: UInt16 = 0
    /// How long the last answer took: by so much less than it seems may have flowed in at the store.
    private(set) var answerMilliseconds: UInt16 = 0
    /// All that most payments look at; it stands last, see ``TableValue``.
    var rest: HotLease

    /// An organization of which nothing is known: as far as this server can tell its bucket is full.
    ///
    /// - Parameters:
    ///   - sequence: the last that was used for any organization. If it was for this one, before it was forgotten, its
    ///     answer was taken in, and the tokens may have been spent.
    ///   - spentAt: when a token of this organization can last have been spent here, before it was forgotten.
    init(
        limit: Limit, partition: PartitionID = .only, sequence: UInt64 = 0, spentAt: Instant = Instant(nanoseconds: 0),
        now: Instant
    ) {
        self.limit = limit
        self.partition = partition
        estimateAt = now
        rest = HotLease(until: now, spentAt: spentAt)
        acknowledged = sequence
        demand = Demand(now: now)
        estimate = StoreBalanceEstimate(unknown: limit)
    }

    /// Until when nothing becomes of the lease by time alone: it is renewed then, or it ends.
    private(set) var fastPathDeadline: Instant {
        get { rest.until }
        set { rest.until = newValue }
    }

    /// How many tokens must be left for a payment to be no more than that; all that it depends on keeps it up to date.
    private(set) var fastPathFloor: UInt32 {
        get { rest.downTo }
        set { rest.downTo = newValue }
    }

    /// Leased tokens that are left and not spoken for; only what is paid is taken from them here, see ``held``.
    var heldTokens: UInt32 {
        get { rest.heldTokens }
        set { rest.heldTokens = newValue }
    }

    /// When a token was last spent here.
    var spentAt: Instant {
        get { rest.spentAt }
        set {
            rest.spentAt = newValue
            fastPathFloor = computedFastPathFloor
        }
    }

    /// The latest instant that was seen here.
    ///
    /// A thread may read the clock, stall, and take the lock after others have decided for later instants: what it
    /// decides then counts for the latest of these, or it would spend tokens that had not been granted yet.
    var latest: Instant { max(estimateAt, spentAt) }

    /// What ``fastPathFloor`` is.
    ///
    /// Down to so many tokens nothing but paying becomes of the lease: no more are asked for, and no half of it is noted as
    /// spent. While tokens come or a request is in flight it is more than there can be; so it is until something has been spent
    /// since ``estimateAt``, since a payment then sees by ``spentAt`` alone whether it comes from a thread that has stalled.
    private var computedFastPathFloor: UInt32 {
        guard case .settled(let terms) = phase, terms.trickle.remaining == 0, spentAt >= estimateAt else { return .max }
        guard !notes.contains(.isHalfSpendRecorded) else { return terms.renewBelow }
        let all = Int64(spent) + Int64(heldTokens)
        return max(terms.renewBelow, UInt32(clamping: all - Int64(terms.early) + 1))
    }

    /// When all tokens lapse.
    var expiresAt: Instant { fastPathDeadline.advanced(byMilliseconds: Int64(renewalMilliseconds)) }

    /// The tokens lapse then, and nothing is to be done before.
    private mutating func rest(until end: Instant) {
        fastPathDeadline = end
        renewalMilliseconds = 0
    }

    /// Nothing is to come, and nothing to be renewed.
    private mutating func forgetTerms(early: UInt32 = .max) {
        phase = .settled(LeaseTerms(early: early))
        rest(until: expiresAt)
    }

    /// Leased tokens that are left and not spoken for, in whole tokens.
    ///
    /// To pay takes tokens out of ``heldTokens`` and is counted as ``spent`` and ``wanted`` by that alone. Whatever else
    /// becomes of tokens is set here, and is neither.
    var held: Int {
        get { Int(heldTokens) }
        set {
            let (spent, wanted) = (spent, wanted)
            heldTokens = UInt32(clamping: min(newValue, Limit.maximumCapacity))
            (self.spent, self.wanted) = (spent, wanted)
        }
    }

    /// Tokens spent since the last request left; about half of the lease, once that many had been.
    private(set) var spent: UInt32 {
        get { notes.contains(.isHalfSpendRecorded) ? spentBasis : spentBasis &- heldTokens }
        set { spentBasis = notes.contains(.isHalfSpendRecorded) ? newValue : newValue &+ heldTokens }
    }

    /// Tokens asked for here since demand was last measured; below 0 by those that were counted while they waited.
    ///
    /// It stops where all that can be held might still be paid without a wrap.
    var wanted: Int {
        get { Int(wantedBasis &- Int32(truncatingIfNeeded: heldTokens)) }
        set {
            let bounded = Int32(clamping: min(newValue, Int(Int32.max) - Limit.maximumCapacity))
            wantedBasis = bounded &+ Int32(truncatingIfNeeded: heldTokens)
        }
    }

    /// Whether a request is in flight.
    var isRequesting: Bool {
        if case .requesting = phase { true } else { false }
    }

    /// The number of the request in flight, else of the last one that was answered.
    var sequence: UInt64 {
        if case .requesting(let flight) = phase { flight.sequence } else { acknowledged }
    }

    /// Whether the lessee looks after this lease's falling idle.
    var hasIdleCheck: Bool {
        get { notes.contains(.hasIdleCheck) }
        set { notes.set(.hasIdleCheck, to: newValue) }
    }

    var terms: LeaseTerms {
        if case .settled(let terms) = phase { terms } else { LeaseTerms() }
    }

    /// Tokens set aside for the requests that wait for the answer in flight.
    private var reserved: Int {
        if case .requesting(let flight) = phase { Int(flight.reserved) } else { 0 }
    }

    /// Tokens of a pace that are still to come.
    var trickleRemaining: Int { terms.trickle.remaining }

    /// Tokens that are on record at the store and have not been spent, as far as this server knows.
    var leased: Int { held &+ reserved &+ trickleRemaining }

    /// Those that have not lapsed by now, whether that has been noticed or not.
    func leased(now: Instant) -> Int { now < expiresAt ? leased : 0 }

    /// Whether the store should hear of this organization again even if no request comes: to have tokens back, or
    /// because refill would stop while spent tokens are on record.
    var isWorthReporting: Bool {
        leased > 0 || notes.isSuperset(of: [.isRecorded, .isNearCapacity])
    }

    /// Whether it is worth a store call of its own to report it before it lapses.
    func isWorthReturning(settings: LeaseSettings) -> Bool {
        isWorthReporting
            && (notes.isSuperset(of: [.isRecorded, .isNearCapacity]) || leased > settings.negligibleTokens(of: limit))
    }

    /// The best knowledge of the global balance: what the store had, and what is held here.
    var knownMicrotokens: Int64 {
        min(limit.capacityMicrotokens, max(0, estimate.openMicrotokens) &+ Int64(held) &* Limit.microtokensPerToken)
    }

    /// Whether paying this makes it about half of the lease that has been spent, which is to be noted.
    func isHalfSpent(with cost: UInt32, _ terms: LeaseTerms) -> Bool {
        !notes.contains(.isHalfSpendRecorded) && spentBasis &- heldTokens &+ cost >= terms.early
    }

    /// Notes that about half of the lease has been spent by now, with what is being paid.
    mutating func recordHalfSpend(_ terms: LeaseTerms, paying cost: UInt32) {
        var terms = terms
        terms.early = UInt32(clamping: expiresAt.milliseconds - latest.milliseconds)
        phase = .settled(terms)
        spentBasis = spent &+ cost
        notes.insert(.isHalfSpendRecorded)
    }

    // MARK: Asking

    /// Whether it is time to ask for more before the tokens run out.
    @inline(__always)
    func isRunningDry(now: Instant) -> Bool {
        guard case .settled(let terms) = phase, renewalMilliseconds > 0 else { return false }
        return held &+ terms.trickle.remaining < Int(terms.renewBelow) || now >= fastPathDeadline
    }

    /// Asks for what waiting requests need beyond the tokens held, and for what is to come.
    ///
    /// Where requests wait, what is held is set aside for them: nobody who comes later may spend it before they are
    /// answered. What has not come of a pace goes back and is asked for anew.
    mutating func beginRequest(
        waitingTokens: Int, sequence: UInt64, sizing: some LeaseSizing, settings: LeaseSettings, now: Instant,
        tally: inout LeaseTokenTally
    ) -> Report {
        advance(clockDriftPerMille: settings.clockDriftPerMille, now: now, tally: &tally)
        let now = latest
        demand.record(tokens: wanted + waitingTokens, settings: settings, now: now)
        // They are counted now, and will be once more when they are decided.
        wanted = -waitingTokens
        let returned = trickleRemaining
        tally.returned &+= UInt64(returned)
        var report = begin(sequence, isReserving: waitingTokens > 0, settings: settings, now: now)
        let use = LeaseUsage(
            limit: limit, demandPerSecond: demand.tokensPerSecond, held: max(0, report.held - waitingTokens))
        let requested = sizing.requested(for: use, settings: settings).bounded(by: settings)
        notes.set(.hasPrefetched, to: requested.ahead > 0)
        report.returned = returned
        report.requested = requested
        return report
    }

    /// Gives back all that is held and to come; nil where there is nothing to tell, or while a request is in flight.
    ///
    /// - Parameter isForced: whether the store is told even where it will learn in good time.
    mutating func returnTokens(
        sequence: UInt64, isForced: Bool, settings: LeaseSettings, now: Instant, tally: inout LeaseTokenTally
    ) -> Report? {
        advance(clockDriftPerMille: settings.clockDriftPerMille, now: now, tally: &tally)
        let now = latest
        guard !isRequesting, isWorthReporting || isForced && notes.contains(.isRecorded) else { return nil }
        let returned = leased
        tally.returned &+= UInt64(returned)
        held = 0
        notes.remove(.hasPrefetched)
        var report = begin(sequence, isReserving: false, settings: settings, now: now)
        report.returned = returned
        return report
    }

    /// The organization's bucket is another one from now on: forgets everything that was about the old one.
    ///
    /// What is held should be given back there first; the answer to that is not heeded.
    mutating func move(to partition: PartitionID) {
        precondition(reserved == 0, "a bucket is left while nobody waits for it")
        self.partition = partition
        forgetTerms(early: terms.early)
        held = 0
        notes.remove([.isRecorded, .hasPrefetched])
        invalidateEstimate()
    }

    /// Another limit holds from now on: what the store said under the old one counts for nothing, and what it granted
    /// under a higher one is not spent.
    ///
    /// Tokens set aside for those that wait stay. The store learns of the others when it is next asked, or when they lapse
    /// there.
    mutating func change(to limit: Limit, from old: Limit, tally: inout LeaseTokenTally) {
        self.limit = limit
        invalidateEstimate()
        guard limit.isLower(than: old) else { return }
        dropTokens(tally: &tally)
    }

    /// Nothing that the store said counts any more; the next shortage asks.
    mutating func invalidateEstimate() {
        estimate = StoreBalanceEstimate(unknown: limit)
    }

    /// A token was spent here that was not leased.
    mutating func noteSpending(now: Instant) {
        spentAt = max(spentAt, now)
    }

    /// What every request reports: what is held, and since when.
    ///
    /// - Parameter isReserving: whether what is held is set aside for those that wait.
    private mutating func begin(
        _ sequence: UInt64, isReserving: Bool, settings: LeaseSettings, now: Instant
    ) -> Report {
        precondition(!isRequesting, "one request at a time for an organization")
        var report = Report(held: held, unspentMilliseconds: settings.certainMilliseconds(from: spentAt, to: now))
        if notes.contains(.isHalfSpendRecorded) {
            let earlyAt = Instant(milliseconds: expiresAt.milliseconds - Int64(terms.early))
            report.halfSpentTokens = Int(spent)
            report.halfSpentMilliseconds = settings.certainMilliseconds(from: earlyAt, to: now)
        }
        notes.remove(.isHalfSpendRecorded)
        spent = 0
        rest(until: expiresAt)
        phase = .requesting(
            RequestInFlight(sequence: sequence, reported: heldTokens, reserved: isReserving ? heldTokens : 0))
        if isReserving { held = 0 }
        return report
    }

    // MARK: Answers

    /// Takes in the answer to the request in flight.
    ///
    /// Where the store knew of less than was reported, the rest has lapsed there and must not be spent here.
    mutating func settle(
        _ grant: Grant, sentAt: Instant, settings: LeaseSettings, now: Instant, tally: inout LeaseTokenTally
    ) {
        guard case .requesting(let flight) = phase else { return }
        let now = max(now, latest)
        estimateAt = now
        acknowledged = flight.sequence
        answerMilliseconds = UInt16(clamping: now.milliseconds - sentAt.milliseconds)
        let left = held + Int(flight.reserved)
        let lapsed = min(left, Int(flight.reported) - grant.held)
        tally.expired &+= UInt64(lapsed)
        tally.granted &+= UInt64(grant.tokens + grant.trickleTokens)
        held = left - lapsed + grant.tokens
        notes.set(.isRecorded, to: grant.held + grant.tokens + grant.trickleTokens > 0)
        notes.set(.isNearCapacity, to: isNearCapacity(grant, settings: settings))
        rest(until: settings.expiry(sentAt: sentAt))
        estimate = StoreBalanceEstimate(
            grant, sentAt: sentAt, limit: limit, expiresAt: expiresAt, settings: settings, now: now)
        var terms = LeaseTerms()
        terms.trickle = TrickleGrant(
            tokens: grant.trickleTokens, milliseconds: grant.trickleMilliseconds, startedAt: now, leaseEnd: expiresAt)
        terms.early = UInt32(clamping: max(1, (Int(spent) + held + terms.trickle.tokens) / 2))
        if notes.contains(.hasPrefetched), settings.prefetchMilliseconds > 0 {
            let perSecond = terms.trickle.tokens > 0 ? terms.trickle.tokensPerSecond : demand.tokensPerSecond
            let soon = Int((perSecond * Double(settings.prefetchMilliseconds) / 1000).rounded(.up))
            terms.renewBelow = UInt32(clamping: min(soon, (held + terms.trickle.tokens + 1) / 2))
            // Tokens that demand no longer takes are put on record anew before they lapse.
            let renewAt = sentAt.advanced(byMilliseconds: settings.durationMilliseconds * 3 / 4)
            renewalMilliseconds = UInt16(clamping: max(1, fastPathDeadline.milliseconds - renewAt.milliseconds))
            fastPathDeadline = fastPathDeadline.advanced(byMilliseconds: -Int64(renewalMilliseconds))
        }
        phase = .settled(terms)
    }

    private func isNearCapacity(_ grant: Grant, settings: LeaseSettings) -> Bool {
        let room = limit.capacityMicrotokens - Int64(grant.outstanding) * Limit.microtokensPerToken
        return grant.outstanding > limit.capacity / 16
            && limit.millisecondsToGain(room - max(0, grant.openMicrotokens)) < settings.durationMilliseconds
    }

    /// The request in flight will not be answered, or its answer will not be heeded.
    mutating func fail() {
        held += reserved
        forgetTerms()
        wanted = 0
        invalidateEstimate()
    }

    /// Whether forgetting this organization loses nothing: no tokens, no request in flight.
    func isIdle(now: Instant) -> Bool {
        !isRequesting && (leased == 0 || now >= expiresAt)
    }
}
