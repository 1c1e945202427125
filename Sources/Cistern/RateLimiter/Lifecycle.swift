internal import Synchronization

/// Whether a limiter is running, and the requests that wait for it to start.
final class Lifecycle: Sendable {
    enum Phase: UInt8, AtomicRepresentable {
        case new
        case starting
        case running
        case stopped
    }

    private let current = Atomic(Phase.new)
    private let waiters = Mutex<[UInt64: CheckedContinuation<Void, Never>]>([:])
    private let lastWaiter = Atomic<UInt64>(0)

    /// How many requests wait for the start.
    package var waiterCount: Int { waiters.withLock { $0.count } }

    @inline(__always)
    var phase: Phase { current.load(ordering: .acquiring) }

    /// Begins the only run; false if there has been one already.
    func begin() -> Bool {
        current.compareExchange(expected: .new, desired: .starting, ordering: .acquiringAndReleasing).exchanged
    }

    func change(to phase: Phase) {
        current.store(phase, ordering: .releasing)
        let waiting = waiters.withLock { waiters in
            defer { waiters = [:] }
            return waiters
        }
        for continuation in waiting.values { continuation.resume() }
    }

    /// Waits until the limiter runs or has stopped, the timeout has passed, or the task is canceled; returns the phase.
    ///
    /// - Parameter mostWaiters: beyond this number of waiters it returns at once.
    func waitForStart(atMost timeout: Duration, mostWaiters: Int = .max) async -> Phase {
        guard waiters.withLock({ $0.count }) < mostWaiters else { return phase }
        let number = lastWaiter.add(1, ordering: .relaxed).newValue
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                waiters.withLock { $0[number] = continuation }
                // The phase may have changed, and the task may have been canceled, before the waiter was registered.
                if phase == .running || phase == .stopped || Task.isCancelled { return resume(number) }
                Task {
                    try? await Task.sleep(for: timeout)
                    resume(number)
                }
            }
        } onCancel: {
            resume(number)
        }
        return phase
    }

    private func resume(_ number: UInt64) {
        waiters.withLock { $0.removeValue(forKey: number) }?.resume()
    }
}

/// Runs `body` until it returns or the deadline passes; returns whether it finished in time.
package func withDeadline(_ timeout: Duration, _ body: @escaping @Sendable () async -> Void) async -> Bool {
    let (outcomes, outcome) = AsyncStream.makeStream(of: Bool.self)
    let work = Task {
        await body()
        outcome.yield(true)
    }
    let timer = Task {
        try await Task.sleep(for: timeout)
        outcome.yield(false)
    }
    defer {
        work.cancel()
        timer.cancel()
    }
    // Detached from the caller's cancellation: a canceled caller still waits for the outcome.
    return await Task {
        for await isDone in outcomes { return isDone }
        return false
    }.value
}
