internal import CProcessorHints
internal import Synchronization

/// A lock for work of some tens of nanoseconds, which is let go by a plain store.
///
/// `Mutex` is let go by an atomic exchange, since it has to find out whether a thread sleeps on it; that waits for whatever the
/// thread has written before, so for a cache line that is still on its way. Here nobody is woken. A thread that finds the
/// lock held looks again a hundred times, for longer than a decision takes. If it is held even then, its holder is most
/// likely not running, and the thread sleeps for a moment before each further look, so that the holder has the
/// processor. Whoever finds it free takes it; there is no queue.
struct ShardLock: ~Copyable, Sendable {
    /// Looks before the first sleep: a few microseconds.
    private static let busyLooks = 128

    private let isHeld = Atomic<Bool>(false)

    @inline(__always)
    func acquire() {
        if !tryAcquire() { acquireHeld() }
    }

    @inline(__always)
    func release() {
        isHeld.store(false, ordering: .releasing)
    }

    @inline(__always)
    private func tryAcquire() -> Bool {
        isHeld.compareExchange(
            expected: false, desired: true, successOrdering: .acquiring, failureOrdering: .relaxed
        ).exchanged
    }

    @inline(never)
    private func acquireHeld() {
        var looks = 0
        repeat {
            // Looking takes nothing from the holder; trying to take the lock would take its cache line.
            while isHeld.load(ordering: .relaxed) {
                looks += 1
                if looks <= Self.busyLooks { processor_pause() } else { thread_sleep_briefly() }
            }
        } while !tryAcquire()
    }
}
