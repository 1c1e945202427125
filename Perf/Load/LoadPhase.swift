internal import Synchronization

/// Where a load stands; whoever measures turns it on, every thread of the load looks.
final class LoadPhase: Sendable {
    enum Phase: Int, AtomicRepresentable, Sendable {
        /// Requests go, and do not count yet.
        case warmingUp
        /// What comes in now counts.
        case counting
        /// No more requests go; what is still answered counts.
        case ending
        /// No more requests go, and nothing counts.
        case over

        var counts: Bool { self == .counting || self == .ending }
        var sends: Bool { self == .warmingUp || self == .counting }
    }

    private let phase = Atomic(Phase.warmingUp)

    var current: Phase { phase.load(ordering: .relaxed) }

    private let failure = Atomic(false)

    /// Whether something broke: the load is of no more use, and its end says why.
    var hasFailed: Bool { failure.load(ordering: .relaxed) }

    func fail() {
        failure.store(true, ordering: .relaxed)
    }

    func turn(to next: Phase) {
        phase.store(next, ordering: .releasing)
    }
}
