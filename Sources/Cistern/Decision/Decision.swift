/// What a limiter answers to "may this organisation do this now?".
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
        /// policy is `closed`; the organisation's limit has no part in it.
        case refused
    }

    /// How it came out.
    public let outcome: Outcome
    /// Whether the bucket could not pay, and the request goes ahead because its limit is in shadow.
    public let isShadowDenial: Bool
    /// The limit that held.
    public let limit: Limit
    /// When it was decided, on the clock of the `now` that was given.
    public let decidedAt: Instant
    /// Milliseconds until the request could be paid for; 0 unless denied or refused.
    public let retryAfterMilliseconds: Int64
    /// The organisation's balance after the decision, as far as this server knows it.
    package let balanceMicrotokens: Int64

    /// Whether the request may go ahead.
    public var isAllowed: Bool {
        outcome == .allowed || outcome == .unmetered
    }

    /// Whole tokens left: the best knowledge of the global balance, and 0 on a denial.
    public var remaining: Int {
        outcome == .denied || outcome == .refused ? 0 : Int(balanceMicrotokens / Limit.microtokensPerToken)
    }

    /// When the bucket will be full again if nobody uses it.
    public var resetAt: Instant {
        decidedAt.advanced(
            byMilliseconds: limit.millisecondsToGain(limit.capacityMicrotokens - balanceMicrotokens))
    }
}

extension Decision {
    /// The same under a limit in shadow, which turns nobody away.
    var inShadow: Decision {
        switch outcome {
        case .allowed, .unmetered: self
        case .denied:
            Decision(
                outcome: .allowed, isShadowDenial: true, limit: limit, decidedAt: decidedAt,
                retryAfterMilliseconds: 0, balanceMicrotokens: balanceMicrotokens)
        case .refused: .unmetered(limit, at: decidedAt)
        }
    }

    /// How long a request that was refused is asked to stay away: one second.
    package static let refusedRetryAfterMilliseconds: Int64 = 1000

    @inline(__always)
    package static func allowed(_ limit: Limit, balanceMicrotokens: Int64, at now: Instant) -> Decision {
        Decision(
            outcome: .allowed, isShadowDenial: false, limit: limit, decidedAt: now, retryAfterMilliseconds: 0,
            balanceMicrotokens: balanceMicrotokens)
    }

    /// A denial for want of `costMicrotokens`; a cost above the capacity is told the time to a full bucket.
    static func denied(
        _ limit: Limit, balanceMicrotokens: Int64, costMicrotokens: Int64, at now: Instant
    ) -> Decision {
        let missing = min(costMicrotokens, limit.capacityMicrotokens) - balanceMicrotokens
        return .denied(
            limit, balanceMicrotokens: balanceMicrotokens,
            retryAfterMilliseconds: limit.millisecondsToGain(missing), at: now)
    }

    package static func denied(
        _ limit: Limit, balanceMicrotokens: Int64, retryAfterMilliseconds: Int64, at now: Instant
    ) -> Decision {
        Decision(
            outcome: .denied, isShadowDenial: false, limit: limit, decidedAt: now,
            retryAfterMilliseconds: max(1, retryAfterMilliseconds), balanceMicrotokens: balanceMicrotokens)
    }

    package static func unmetered(_ limit: Limit, at now: Instant) -> Decision {
        Decision(
            outcome: .unmetered, isShadowDenial: false, limit: limit, decidedAt: now, retryAfterMilliseconds: 0,
            balanceMicrotokens: limit.capacityMicrotokens)
    }

    static func refused(_ limit: Limit, at now: Instant) -> Decision {
        Decision(
            outcome: .refused, isShadowDenial: false, limit: limit, decidedAt: now,
            retryAfterMilliseconds: refusedRetryAfterMilliseconds, balanceMicrotokens: limit.capacityMicrotokens)
    }
}
