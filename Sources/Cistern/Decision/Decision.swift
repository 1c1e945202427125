/// What a limiter answers to "may this organization do this now?".
public struct Decision: Sendable, Equatable, BitwiseCopyable {
    /// How it came out.
    public enum Outcome: UInt8, Sendable, BitwiseCopyable, CaseIterable {
        /// The tokens were there and are taken.
        case allowed
        /// The bucket cannot pay; nothing is taken.
        case denied
        /// Let through uncounted, because the store is out of reach and the failure policy is `open`.
        case unmetered
        /// Turned away, because a bound of this server was hit, or because the store is out of reach and the failure
        /// policy is `closed`; the organization's limit has no part in it.
        case refused
    }

    // No gap between two fields: what stands in one is copied, too, and piece by piece.
    /// The limit that held.
    public let limit: Limit
    /// Tokens held here besides ``balance``, and in the highest bit ``isShadowDenial``.
    ///
    /// A flag of its own would be what an optional decision is told by, and whoever looks at the outcome would look twice.
    private let heldTokensAndShadow: UInt32
    private static let shadowBit: UInt32 = 1 << 31
    /// When it was decided, on the clock of the `now` that was given.
    public let decidedAt: Instant
    /// Milliseconds until the request can be paid for, if nobody else asks meanwhile; 0 unless denied or refused.
    ///
    /// 0 on a denial means never: the cost is above the capacity.
    public let retryAfterMilliseconds: Int64
    /// What is left after the decision, as far as this server knows.
    private let balance: Balance
    /// How it came out.
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

    /// Whether the bucket could not pay, and the request goes ahead because its limit is in shadow.
    public var isShadowDenial: Bool { heldTokensAndShadow & Self.shadowBit != 0 }

    private var heldTokens: UInt32 { heldTokensAndShadow & ~Self.shadowBit }

    /// Whether the request may go ahead.
    public var isAllowed: Bool {
        outcome == .allowed || outcome == .unmetered
    }

    /// Whole tokens left: the best knowledge of the global balance, and 0 on a denial.
    public var remaining: Int {
        outcome == .denied || outcome == .refused ? 0 : Int(balanceMicrotokens / Limit.microtokensPerToken)
    }

    /// The organization's balance after the decision, as far as this server knows it.
    package var balanceMicrotokens: Int64 { balance.microtokens(of: limit, heldTokens: heldTokens, at: decidedAt) }

    /// When the bucket will be full again if nobody uses it.
    public var resetAt: Instant {
        decidedAt.advanced(
            byMilliseconds: limit.millisecondsToGain(limit.capacityMicrotokens - balanceMicrotokens))
    }
}

extension Decision {
    /// Whether both say the same, however either came to know the balance.
    public static func == (left: Decision, right: Decision) -> Bool {
        left.outcome == right.outcome && left.isShadowDenial == right.isShadowDenial && left.limit == right.limit
            && left.decidedAt == right.decidedAt && left.retryAfterMilliseconds == right.retryAfterMilliseconds
            && left.balanceMicrotokens == right.balanceMicrotokens
    }

    /// The same under a limit in shadow, which turns nobody away.
    var inShadow: Decision {
        switch outcome {
        case .allowed, .unmetered: self
        case .denied:
            Decision(
                .allowed, limit, balance: balance, heldTokens: heldTokens, isShadowDenial: true, at: decidedAt)
        case .refused: .unmetered(limit, at: decidedAt)
        }
    }

    /// How long a request that was refused is asked to stay away: one second.
    package static let refusedRetryAfterMilliseconds: Int64 = 1000

    @inline(__always)
    static func allowed(_ limit: Limit, balance: Balance, heldTokens: UInt32, at now: Instant) -> Decision {
        Decision(.allowed, limit, balance: balance, heldTokens: heldTokens, at: now)
    }

    package static func allowed(_ limit: Limit, balanceMicrotokens: Int64, at now: Instant) -> Decision {
        Decision(.allowed, limit, balance: Balance(microtokens: balanceMicrotokens), at: now)
    }

    /// A denial for want of `costMicrotokens`; of a cost above the capacity for ever.
    static func denied(
        _ limit: Limit, balanceMicrotokens: Int64, costMicrotokens: Int64, at now: Instant
    ) -> Decision {
        guard costMicrotokens <= limit.capacityMicrotokens else {
            return .neverAllowed(limit, balanceMicrotokens: balanceMicrotokens, at: now)
        }
        let missing = costMicrotokens - balanceMicrotokens
        return .denied(
            limit, balanceMicrotokens: balanceMicrotokens,
            retryAfterMilliseconds: limit.millisecondsToGain(missing), at: now)
    }

    package static func denied(
        _ limit: Limit, balanceMicrotokens: Int64, retryAfterMilliseconds: Int64, at now: Instant
    ) -> Decision {
        Decision(
            .denied, limit, balance: Balance(microtokens: balanceMicrotokens),
            retryAfterMilliseconds: max(1, retryAfterMilliseconds), at: now)
    }

    /// A denial of a cost above the capacity: no wait helps.
    static func neverAllowed(_ limit: Limit, balanceMicrotokens: Int64, at now: Instant) -> Decision {
        Decision(.denied, limit, balance: Balance(microtokens: balanceMicrotokens), at: now)
    }

    package static func unmetered(_ limit: Limit, at now: Instant) -> Decision {
        Decision(.unmetered, limit, balance: Balance(microtokens: limit.capacityMicrotokens), at: now)
    }

    static func refused(_ limit: Limit, at now: Instant) -> Decision {
        Decision(
            .refused, limit, balance: Balance(microtokens: limit.capacityMicrotokens),
            retryAfterMilliseconds: refusedRetryAfterMilliseconds, at: now)
    }
}
