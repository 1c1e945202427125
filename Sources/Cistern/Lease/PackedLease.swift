/// A ``LeaseState`` in 128 bytes, as the lease table keeps it.
///
/// The fast path changes ``hot`` alone. A payment lowers the held tokens, and raises the spent and the demanded tokens
/// by the same amount. So the sums ``spentPlusHeld`` and ``demandedPlusHeld`` are stored, which it does not change.
struct PackedLease: TableValue {
    typealias Hot = HotLease
    typealias Cold = InlineArray<13, UInt64>

    private let acknowledgedSequence: UInt64
    private let estimateAsOf: Instant
    private let openUnits: Int64
    private let inflow: Inflow
    private let limit: Limit
    private let phase: Phase
    private let demand: Demand
    private let spentPlusHeld: UInt32
    private let demandedPlusHeld: Int32
    /// ``StoreBalanceEstimate/deniesUntil``, as microseconds before the lease expires.
    private let denialEndMicrosecondsBeforeExpiry: UInt32
    /// ``LeaseState/renewAt``, as milliseconds before the lease expires; 0 for none.
    private let renewalMillisecondsBeforeExpiry: UInt16
    private let replyMilliseconds: UInt16
    private let partition: PartitionID
    private let lesseeSteps: UInt8
    private let flags: Flags
    /// The last field, next to the key in memory: see ``TableValue``.
    var hot: HotLease

    /// ``denialEndMicrosecondsBeforeExpiry`` of an estimate that denies nothing.
    private static let noDenial = UInt32.max

    private enum Phase: BitwiseCopyable {
        case settled(Terms)
        case requesting(sequence: UInt64, reportedHeldTokens: UInt32, reservedHeldTokens: UInt32)
    }

    private struct Terms: BitwiseCopyable {
        let trickleTokens: UInt32
        let trickleArrived: UInt32
        /// The trickle's start, as milliseconds before the lease expires.
        let trickleStartMillisecondsBeforeExpiry: UInt16
        let trickleMilliseconds: UInt16
        let renewBelow: UInt32
        let halfSpent: HalfSpent
    }

    private enum HalfSpent: BitwiseCopyable {
        case none
        case pending(threshold: UInt32)
        case recorded(tokens: UInt32, millisecondsBeforeExpiry: UInt16)
    }

    private struct Flags: OptionSet, BitwiseCopyable {
        let rawValue: UInt8
        static let hasStoreRecord = Flags(rawValue: 1)
        static let recordedTokensStopRefill = Flags(rawValue: 2)
        static let hasPrefetched = Flags(rawValue: 4)
        static let hasIdleCheck = Flags(rawValue: 8)
    }

    // MARK: Packing

    init(_ state: LeaseState) {
        let expiry = state.expiresAt
        acknowledgedSequence = state.acknowledgedSequence
        estimateAsOf = state.estimate.asOf
        openUnits = state.estimate.openUnits
        inflow = state.estimate.inflow
        limit = state.limit
        phase = Self.phase(state.phase, expiry: expiry)
        demand = state.demand
        spentPlusHeld = UInt32(clamping: state.spentTokens + state.heldTokens)
        demandedPlusHeld = Int32(clamping: state.demandedTokens + state.heldTokens)
        denialEndMicrosecondsBeforeExpiry =
            state.estimate.deniesUntil.map { UInt32(clamping: (expiry.nanoseconds - $0.nanoseconds) / 1000) }
            ?? Self.noDenial
        renewalMillisecondsBeforeExpiry =
            state.renewAt.map { UInt16(clamping: expiry.milliseconds - $0.milliseconds) } ?? 0
        replyMilliseconds = UInt16(clamping: state.replyMilliseconds)
        partition = state.partition
        lesseeSteps = state.lesseeSteps
        var flags: Flags = []
        if state.hasStoreRecord { flags.insert(.hasStoreRecord) }
        if state.recordedTokensStopRefill { flags.insert(.recordedTokensStopRefill) }
        if state.hasPrefetched { flags.insert(.hasPrefetched) }
        if state.hasIdleCheck { flags.insert(.hasIdleCheck) }
        self.flags = flags
        hot = HotLease(
            deadline: state.renewAt ?? expiry, lastSpentAt: state.lastSpentAt,
            heldTokens: UInt32(clamping: state.heldTokens),
            floor: Self.fastPathFloor(of: state))
    }

    /// The fast-path floor; `.max` while every payment must take the slow path.
    ///
    /// The first payment after a new estimate takes it as well: that sets ``HotLease/lastSpentAt``, which then
    /// rejects threads with an older reading of the clock.
    @inline(__always)
    private static func fastPathFloor(of state: LeaseState) -> UInt32 {
        guard case .settled(let terms) = state.phase, terms.trickle.remainingTokens == 0,
            state.lastSpentAt >= state.estimate.asOf
        else { return .max }
        guard case .pending(let threshold) = terms.halfSpent else { return UInt32(clamping: terms.renewBelow) }
        return UInt32(clamping: max(terms.renewBelow, state.spentTokens + state.heldTokens - threshold + 1))
    }

    @inline(__always)
    private static func phase(_ phase: LeaseState.Phase, expiry: Instant) -> Phase {
        switch phase {
        case .requesting(let request):
            return .requesting(
                sequence: request.sequence, reportedHeldTokens: UInt32(clamping: request.reportedHeldTokens),
                reservedHeldTokens: UInt32(clamping: request.reservedHeldTokens))
        case .settled(let terms):
            let halfSpent: HalfSpent =
                switch terms.halfSpent {
                case .none: .none
                case .pending(let threshold): .pending(threshold: UInt32(clamping: threshold))
                case .recorded(let tokens, let at):
                    .recorded(
                        tokens: UInt32(clamping: tokens),
                        millisecondsBeforeExpiry: UInt16(clamping: expiry.milliseconds - at.milliseconds))
                }
            let trickle = terms.trickle
            return .settled(
                Terms(
                    trickleTokens: UInt32(clamping: trickle.tokens),
                    trickleArrived: UInt32(clamping: trickle.arrivedTokens),
                    trickleStartMillisecondsBeforeExpiry: UInt16(
                        clamping: expiry.milliseconds - trickle.startMilliseconds),
                    trickleMilliseconds: UInt16(clamping: trickle.durationMilliseconds),
                    renewBelow: UInt32(clamping: terms.renewBelow), halfSpent: halfSpent))
        }
    }

    // MARK: Unpacking

    /// The state, with the fast path's payments counted.
    var state: LeaseState {
        let held = Int(hot.heldTokens)
        let expiresAt = hot.deadline.advanced(byMilliseconds: Int64(renewalMillisecondsBeforeExpiry))
        let deniesUntil =
            denialEndMicrosecondsBeforeExpiry == Self.noDenial
            ? nil : Instant(nanoseconds: expiresAt.nanoseconds - Int64(denialEndMicrosecondsBeforeExpiry) * 1000)
        return LeaseState(
            limit: limit, partition: partition, heldTokens: held, spentTokens: Int(spentPlusHeld) - held,
            demandedTokens: Int(demandedPlusHeld) - held, demand: demand,
            estimate: StoreBalanceEstimate(
                openUnits: openUnits, inflow: inflow, deniesUntil: deniesUntil, asOf: estimateAsOf),
            expiresAt: expiresAt, renewAt: renewalMillisecondsBeforeExpiry == 0 ? nil : hot.deadline,
            lastSpentAt: hot.lastSpentAt,
            phase: phase(expiry: expiresAt), acknowledgedSequence: acknowledgedSequence, lesseeSteps: lesseeSteps,
            replyMilliseconds: Int(replyMilliseconds),
            hasStoreRecord: flags.contains(.hasStoreRecord),
            recordedTokensStopRefill: flags.contains(.recordedTokensStopRefill),
            hasPrefetched: flags.contains(.hasPrefetched), hasIdleCheck: flags.contains(.hasIdleCheck))
    }

    @inline(__always)
    private func phase(expiry: Instant) -> LeaseState.Phase {
        switch phase {
        case .requesting(let sequence, let reportedHeldTokens, let reservedHeldTokens):
            return .requesting(
                LeaseState.RequestInFlight(
                    sequence: sequence, reportedHeldTokens: Int(reportedHeldTokens),
                    reservedHeldTokens: Int(reservedHeldTokens)))
        case .settled(let packed):
            var terms = LeaseState.Terms()
            if packed.trickleTokens > 0 {
                terms.trickle = TrickleGrant(
                    tokens: Int(packed.trickleTokens), durationMilliseconds: Int64(packed.trickleMilliseconds),
                    startMilliseconds: expiry.milliseconds - Int64(packed.trickleStartMillisecondsBeforeExpiry),
                    arrivedTokens: Int(packed.trickleArrived))
            }
            terms.renewBelow = Int(packed.renewBelow)
            terms.halfSpent =
                switch packed.halfSpent {
                case .none: .none
                case .pending(let threshold): .pending(threshold: Int(threshold))
                case .recorded(let tokens, let before):
                    .recorded(
                        tokens: Int(tokens), at: Instant(milliseconds: expiry.milliseconds - Int64(before)))
                }
            return .settled(terms)
        }
    }

    // MARK: Reading without unpacking

    /// Whether a request to the store is in flight.
    var isRequesting: Bool {
        if case .requesting = phase { true } else { false }
    }

    /// The best estimate of the balance, for a payment that the fast path made.
    @inline(__always)
    var balance: Balance { Balance(openUnits: openUnits, inflow: inflow, asOf: estimateAsOf) }

    /// The allowed decision of a payment that the fast path made at `now`.
    @inline(__always)
    func decision(at now: Instant) -> Decision {
        .allowed(limit, balance: balance, heldTokens: hot.heldTokens, at: now)
    }
}
