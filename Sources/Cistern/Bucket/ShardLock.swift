internal import CProcessorHints
internal import Synchronization

/// A lock for work of some tens of nanoseconds, which is let go by a plain store.
///
/// `Mutex` is let go by an atomic exchange, since it has to find out whether a thread sleeps on it; that waits for whatever
/// the thread has written before, so for a cache line that is still on its way. Here nobody is woken. A thread that finds
/// the lock held looks again a hundred times, for longer than a decision takes. If it is held even then, its holder is
/// most likely not running, and the thread sleeps for a moment before it looks further, so that the holder has the
/// processor. Whoever finds it free takes it; there is no queue. So who takes it again and again, or for long, must
/// ``yieldToSleepers()`` in between. A thread that takes it a second time waits for itself, for ever.
struct ShardLock: ~Copyable, Sendable {
    /// Looks before the first sleep: a few microseconds.
    private static let spinsBeforeSleep = 128
    /// Looks after each further one.
    private static let spinsAfterSleep = 16

    private let isHeld = Atomic<Bool>(false)
    /// Threads that have given up looking for the moment.
    private let sleepers = Atomic<UInt32>(0)

    @inline(__always)
    func acquire() {
        if !tryAcquire() { acquireContended() }
    }

    @inline(__always)
    func release() {
        isHeld.store(false, ordering: .releasing)
    }

    /// Lets those in that sleep, if any do: for whoever has just let it go and means to take it again.
    func yieldToSleepers() {
        // One sleep may end just before theirs does.
        for _ in 0..<2 where sleepers.load(ordering: .relaxed) > 0 { thread_sleep_briefly() }
    }

    @inline(__always)
    private func tryAcquire() -> Bool {
        isHeld.compareExchange(
            expected: false, desired: true, successOrdering: .acquiring, failureOrdering: .relaxed
        ).exchanged
    }

    @inline(never)
    private func acquireContended() {
        var looks = Self.spinsBeforeSleep
        repeat {
            // To look is cheaper for the holder than to try: it shares the cache line instead of giving it up.
            while isHeld.load(ordering: .relaxed) {
                if looks > 0 {
                    looks -= 1
                    processor_pause()
                } else {
                    sleepers.add(1, ordering: .relaxed)
                    thread_sleep_briefly()
                    sleepers.subtract(1, ordering: .relaxed)
                    looks = Self.spinsAfterSleep
                }
            }
        } while !tryAcquire()
    }
}
