/// Decisions counted by outcome, since the start.
package struct DecisionTally: Sendable, Equatable, BitwiseCopyable {
    package var allowed: UInt64 = 0
    package var denied: UInt64 = 0
    package var unmetered: UInt64 = 0
    package var refused: UInt64 = 0
    /// Allowed decisions that a limit in shadow mode would have denied.
    package var shadowDenied: UInt64 = 0
    /// Decisions that waited for the store.
    package var waited: UInt64 = 0

    /// Denied decisions for new keys beyond ``LimiterSettings/maximumNewKeysPerSecond``.
    package var newKeysDenied: UInt64 = 0
    /// When a decision was last unmetered, on the clock of ``Decision/decidedAt``.
    package var lastUnmeteredAt = Instant(nanoseconds: 0)
    /// When a decision was last refused, for lack of a store or of room, on the same clock.
    package var lastRefusedAt = Instant(nanoseconds: 0)

    package init() {}

    /// The number of all decisions.
    package var total: UInt64 { allowed &+ denied &+ unmetered &+ refused }

    mutating func count(_ decision: Decision) {
        count(decision.outcome)
        if decision.outcome == .unmetered { lastUnmeteredAt = max(lastUnmeteredAt, decision.decidedAt) }
        if decision.outcome == .refused { lastRefusedAt = max(lastRefusedAt, decision.decidedAt) }
        if decision.isShadowDenial { shadowDenied &+= 1 }
    }

    @inline(__always)
    mutating func count(_ outcome: Decision.Outcome) {
        switch outcome {
        case .allowed: allowed &+= 1
        case .denied: denied &+= 1
        case .unmetered: unmetered &+= 1
        case .refused: refused &+= 1
        }
    }

    static func += (sum: inout DecisionTally, other: DecisionTally) {
        sum.allowed &+= other.allowed
        sum.denied &+= other.denied
        sum.unmetered &+= other.unmetered
        sum.refused &+= other.refused
        sum.shadowDenied &+= other.shadowDenied
        sum.waited &+= other.waited
        sum.newKeysDenied &+= other.newKeysDenied
        sum.lastUnmeteredAt = max(sum.lastUnmeteredAt, other.lastUnmeteredAt)
        sum.lastRefusedAt = max(sum.lastRefusedAt, other.lastRefusedAt)
    }
}
