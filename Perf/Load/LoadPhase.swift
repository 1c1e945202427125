internal import Synchronization

/// Where a load stands; whoever measures turns it on, every thread of the load looks.
final class LoadPhase: Sendable {
    enum Phase: Int, AtomicRepresentable, Sendable {
        /// Requests go, and do not count yet.
        case warmingUp
        /// What comes in now counts.
        case counting
        /// No more requests go.
        case over
    }

    private let phase = Atomic(Phase.warmingUp)

    var current: Phase { phase.load(ordering: .relaxed) }

    func turn(to next: Phase) {
        phase.store(next, ordering: .releasing)
    }
}
