/// A limiter's decision on one request.
public struct Decision: Sendable, Equatable, BitwiseCopyable {
    /// The kinds of decisions.
    public enum Outcome: UInt8, Sendable, BitwiseCopyable, CaseIterable {
        /// The bucket had enough tokens, and the cost was taken.
        case allowed
        /// The bucket did not have enough tokens; nothing was taken.
        case denied
        /// Admitted without metering, because the store is unreachable and the failure policy is `open`.
        case unmetered
        /// Rejected regardless of the key's limit.
        ///
        /// A bound of this server was hit, or the store is unreachable and the failure policy is `closed`, or `local`
        /// without a known fraction.
        case refused
    }

    // The fields leave no padding between them: padding would be copied too, piece by piece.
    /// The limit that applied.
    public let limit: Limit
    /// Tokens held here on top of ``balance``; the highest bit is ``isShadowDenial``.
    ///
    /// A Bool's unused bit patterns would become Optional's tag, and reading the outcome would take two tests.
    private let heldTokensAndShadow: UInt32
    private static let shadowBit: UInt32 = 1 << 31
    /// When the decision was made, on the clock of the caller's `now`.
    package let decidedAt: Instant
    /// Milliseconds until the request can be paid for if no other request comes before; 0 unless denied or refused.
    ///
    /// 0 on a denial means never: the cost is above the capacity.
    package let retryAfterMilliseconds: Int64
    /// The balance after the decision, as far as this server knows it.
    private let balance: Balance
    /// The kind of the decision.
    public let outcome: Outcome

    @inline(__always)
    private init(
        _ outcome: Outcome, _ limit: Limit, balance: Balance, heldTokens: UInt32 = 0,
        retryAfterMilliseconds: Int64 = 0, isShadowDenial: Bool = false, at now: Instant
    ) {
        self.limit = limit
        heldTokensAndShadow = isShadowDenial ? heldTokens | Self.shadowBit : heldTokens
        decidedAt = now
        self.retryAfterMilliseconds = retryAfterMilliseconds
        self.balance = balance
        self.outcome = outcome
    }

    /// Whether the bucket did not have enough tokens, and the request is allowed because its limit is in shadow mode.
    public var isShadowDenial: Bool { heldTokensAndShadow & Self.shadowBit != 0 }

    private var heldTokens: UInt32 { heldTokensAndShadow & ~Self.shadowBit }

    /// Whether the request may go ahead.
    public var isAllowed: Bool {
        outcome == .allowed || outcome == .unmetered
    }

    /// Whole tokens left, the best estimate of the global balance; 0 if denied or refused.
    public var remaining: Int {
        outcome == .denied || outcome == .refused ? 0 : Int(balanceUnits / limit.unitsPerToken)
    }

    /// The key's balance after the decision, as far as this server knows it, in units.
    package var balanceUnits: Int64 { balance.units(of: limit, heldTokens: heldTokens, at: decidedAt) }

    /// How long until the request can succeed, if no other request comes before: at least 1 ms.
    ///
    /// nil if the request was allowed, and if retrying can never succeed because the cost is above the capacity. A
    /// refused request may be retried after a second.
    public var retryAfter: Duration? {
        retryAfterMilliseconds > 0 ? .milliseconds(retryAfterMilliseconds) : nil
    }

    /// How long until the bucket is full again if no more tokens are taken; zero if it is full.
    public var resetAfter: Duration { .milliseconds(resetAfterMilliseconds) }

    /// When the bucket will be full again if no more tokens are taken.
    package var resetAt: Instant { decidedAt.advanced(byMilliseconds: resetAfterMilliseconds) }

    private var resetAfterMilliseconds: Int64 {
        limit.millisecondsToGain(limit.capacityUnits - balanceUnits)
    }
}

extension Decision {
    /// Whether two decisions are equal.
    ///
    /// Balances are compared by value, whatever they were computed from.
    public static func == (left: Decision, right: Decision) -> Bool {
        left.outcome == right.outcome && left.isShadowDenial == right.isShadowDenial && left.limit == right.limit
            && left.decidedAt == right.decidedAt && left.retryAfterMilliseconds == right.retryAfterMilliseconds
            && left.balanceUnits == right.balanceUnits
    }

    /// The same decision under a limit in shadow mode, which denies and refuses no request.
    var admittedInShadowMode: Decision {
        switch outcome {
        case .allowed, .unmetered: self
        case .denied:
            Decision(
                .allowed, limit, balance: balance, heldTokens: heldTokens, isShadowDenial: true, at: decidedAt)
        case .refused: .unmetered(limit, at: decidedAt)
        }
    }

    /// The retry-after of a refused request: one second, in milliseconds.
    package static let refusedRetryAfterMilliseconds: Int64 = 1000

    @inline(__always)
    static func allowed(_ limit: Limit, balance: Balance, heldTokens: UInt32, at now: Instant) -> Decision {
        Decision(.allowed, limit, balance: balance, heldTokens: heldTokens, at: now)
    }

    package static func allowed(_ limit: Limit, balanceUnits: Int64, at now: Instant) -> Decision {
        Decision(.allowed, limit, balance: Balance(units: balanceUnits), at: now)
    }

    /// A denial because the cost is not available; permanent if it is above the capacity.
    static func denied(_ limit: Limit, balanceUnits: Int64, cost: Int, at now: Instant) -> Decision {
        guard cost <= limit.capacity else {
            return .neverAllowed(limit, balanceUnits: balanceUnits, at: now)
        }
        let missing = limit.units(of: cost) - balanceUnits
        return .denied(
            limit, balanceUnits: balanceUnits,
            retryAfterMilliseconds: limit.millisecondsToGain(missing), at: now)
    }

    package static func denied(
        _ limit: Limit, balanceUnits: Int64, retryAfterMilliseconds: Int64, at now: Instant
    ) -> Decision {
        Decision(
            .denied, limit, balance: Balance(units: balanceUnits),
            retryAfterMilliseconds: max(1, retryAfterMilliseconds), at: now)
    }

    /// A denial of a cost above the capacity: no retry can succeed.
    static func neverAllowed(_ limit: Limit, balanceUnits: Int64, at now: Instant) -> Decision {
        Decision(.denied, limit, balance: Balance(units: balanceUnits), at: now)
    }

    package static func unmetered(_ limit: Limit, at now: Instant) -> Decision {
        Decision(.unmetered, limit, balance: Balance(units: limit.capacityUnits), at: now)
    }

    static func refused(_ limit: Limit, at now: Instant) -> Decision {
        Decision(
            .refused, limit, balance: Balance(units: limit.capacityUnits),
            retryAfterMilliseconds: refusedRetryAfterMilliseconds, at: now)
    }
}
