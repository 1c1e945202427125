internal import Synchronization

/// The phase of a load.
///
/// The measurement sets it, and every thread of the load reads it.
final class LoadPhase: Sendable {
    enum Phase: Int, AtomicRepresentable, Sendable {
        /// Requests are sent, but answers do not count yet.
        case warmingUp
        /// Requests are sent, and answers count.
        case counting
        /// No more requests are sent, but answers still count.
        case ending
        /// No more requests are sent, and answers do not count.
        case over

        var counts: Bool { self == .counting || self == .ending }
        var sends: Bool { self == .warmingUp || self == .counting }
    }

    private let phase = Atomic(Phase.warmingUp)

    var current: Phase { phase.load(ordering: .relaxed) }

    private let failure = Atomic(false)

    /// Whether the load has failed; ``Load/finish(countingAll:)`` then throws the reason.
    var hasFailed: Bool { failure.load(ordering: .relaxed) }

    func fail() {
        failure.store(true, ordering: .relaxed)
    }

    func turn(to next: Phase) {
        phase.store(next, ordering: .releasing)
    }
}
