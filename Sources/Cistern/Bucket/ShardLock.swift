internal import CProcessorHints
internal import Synchronization

/// A lock for critical sections of some tens of nanoseconds, released by a plain store.
///
/// Unlocking a `Mutex` is an atomic read-modify-write, because waiters may be parked. It waits for the thread's earlier
/// writes, and so for cache lines still on their way. This lock wakes no waiters. A thread that finds it held spins
/// ``spinsBeforeSleep`` times, longer than a decision takes. If the lock is still held, its holder has most likely been
/// preempted. The thread then sleeps briefly, which leaves the processor to the holder, and spins again.
///
/// There is no queue: any thread may take a free lock. A thread that takes it repeatedly, or for long, must call
/// ``yieldToSleepers()`` in between. The lock is not recursive: taking it twice deadlocks.
struct ShardLock: ~Copyable, Sendable {
    /// Spins before the first sleep: a few microseconds.
    private static let spinsBeforeSleep = 128
    /// Spins after each sleep.
    private static let spinsAfterSleep = 16

    private let isHeld = Atomic<Bool>(false)
    /// Number of threads that currently sleep.
    private let sleepers = Atomic<UInt32>(0)

    @inline(__always)
    func acquire() {
        if !tryAcquire() { acquireContended() }
    }

    @inline(__always)
    func release() {
        isHeld.store(false, ordering: .releasing)
    }

    /// Lets sleeping threads take the lock.
    ///
    /// For a caller that has just released it and is about to take it again.
    func yieldToSleepers() {
        // Sleeps twice, because one sleep may end just before that of the waiting thread.
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
            // Test before test-and-set: a load shares the holder's cache line, an exchange would take it away.
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
