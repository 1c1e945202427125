/// Decisions counted by outcome, since the start.
public struct DecisionTally: Sendable, Equatable, BitwiseCopyable {
    /// Requests whose cost was taken from their bucket.
    public package(set) var allowed: UInt64 = 0
    /// Requests whose bucket did not have enough tokens.
    public package(set) var denied: UInt64 = 0
    /// Requests admitted without metering, because the store was unreachable.
    public package(set) var unmetered: UInt64 = 0
    /// Requests rejected because of a bound, or because the store was unreachable.
    public package(set) var refused: UInt64 = 0
    /// Allowed decisions that a limit in shadow mode would have denied.
    public package(set) var shadowDenied: UInt64 = 0
    /// Decisions that waited for the store.
    public package(set) var waited: UInt64 = 0
    /// Denied decisions for new keys beyond ``LimiterSettings/maximumNewKeysPerSecond``.
    public package(set) var newKeysDenied: UInt64 = 0
    /// When a decision was last unmetered, on the clock of ``Decision/decidedAt``.
    package var lastUnmeteredAt = Instant(nanoseconds: 0)
    /// When a decision was last refused, for lack of a store or of room, on the same clock.
    package var lastRefusedAt = Instant(nanoseconds: 0)

    package init() {}

    /// The number of all decisions.
    public var total: UInt64 { allowed &+ denied &+ unmetered &+ refused }

    /// The number of decisions with an outcome.
    public subscript(outcome: Decision.Outcome) -> UInt64 {
        switch outcome {
        case .allowed: allowed
        case .denied: denied
        case .unmetered: unmetered
        case .refused: refused
        }
    }

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
