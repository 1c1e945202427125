internal import Synchronization

#if ServiceLifecycle
    public import ServiceLifecycle

    extension RateLimiter: Service {}
#endif

extension RateLimiter {
    /// The limiter was run before.
    public struct AlreadyRunError: Error, CustomStringConvertible {
        /// What happened, and what to do.
        public var description: String { "the limiter has been run before: run each limiter once, or create another" }
    }

    /// Connects to the store, keeps leases and overrides current, and returns all leases at the end.
    ///
    /// It returns after a graceful shutdown (swift-service-lifecycle) or when its task is canceled, once the store has
    /// confirmed every return, or after five seconds without a confirmation. Without a store it only reports metrics,
    /// and calling it is optional.
    ///
    /// - Throws: ``AlreadyRunError`` at a second call. An unreachable store is no error: the failure policy decides
    ///   until it is reachable.
    public func run() async throws {
        guard lifecycle.begin() else { throw AlreadyRunError() }
        await store?.start()
        await refreshOverrides()
        decidesFromMemory.store(true, ordering: .releasing)
        lifecycle.change(to: .running)
        #if ServiceLifecycle
            await cancelWhenGracefulShutdown { await self.maintain() }
        #else
            await maintain()
        #endif
        lifecycle.change(to: .stopped)
        if let store {
            decidesFromMemory.store(false, ordering: .releasing)
            // A canceled task must still return the leases.
            await Task { [engine, timeSource] in
                _ = await withDeadline(.seconds(5)) { await engine.returnAllLeases(clock: timeSource) }
                _ = await withDeadline(.seconds(2)) { await store.stop() }
            }.value
        }
        #if Observability
            report()
        #endif
    }

    /// Runs the limiter while `body` runs: for programs without a service group, such as batch jobs and tests.
    ///
    /// `body` starts once the store has been tried; all leases are returned before this method returns.
    ///
    /// - Throws: ``AlreadyRunError``, or the error of `body`.
    public func withRunning<Success>(
        isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> sending Success
    ) async throws -> sending Success {
        guard lifecycle.phase == .new else { throw AlreadyRunError() }
        // Detached, so that a graceful shutdown around `body` does not end the run before `body` has returned.
        let running = Task.detached { try await self.run() }
        // In a task of its own, because a canceled task would not wait.
        await Task { [lifecycle] in
            while lifecycle.phase == .new || lifecycle.phase == .starting {
                _ = await lifecycle.waitForStart(atMost: .seconds(10))
            }
        }.value
        do {
            let success = try await body()
            running.cancel()
            try await running.value
            return success
        } catch {
            running.cancel()
            _ = await running.result
            throw error
        }
    }

    /// Does the periodic work until the task is canceled.
    private func maintain() async {
        await withTaskGroup(of: Void.self) { group in
            if store != nil {
                group.addTask {
                    await Self.repeating(every: { .milliseconds(self.currentLease.sweepMilliseconds) }) {
                        self.engine.returnIdleLeases(now: self.timeSource.now())
                    }
                }
                group.addTask {
                    await Self.repeating(every: { .milliseconds(self.currentLease.overrideMilliseconds) }) {
                        await self.refreshOverrides()
                    }
                }
            }
            #if Observability
                group.addTask {
                    await Self.repeating(every: { .seconds(1) }) { self.report() }
                }
            #endif
            // Keeps the group alive until cancellation if there is no other work.
            group.addTask { await Self.repeating(every: { .seconds(3600) }) {} }
        }
    }

    private var currentLease: LeaseSettings { engine.leaseSettings ?? settings.lease }

    #if Observability
        private func report() { observer.report(statistics, nodes: nodeStates) }
    #endif

    private func refreshOverrides() async {
        guard let limits = await store?.overrides() else { return }
        engine.changeLimits(now: timeSource.now()) { $0.overridden(by: limits) }
    }

    private static func repeating(
        every interval: () -> Duration, _ body: () async -> Void
    ) async {
        while !Task.isCancelled {
            guard (try? await Task.sleep(for: interval())) != nil else { return }
            await body()
        }
    }
}

extension RateLimiterEngine {
    /// Returns every lease, also those whose request is in flight at first; gives up after twice the store timeout.
    package func returnAllLeases(clock: some TimeSource) async {
        let timeout = leaseSettings?.timeout ?? .zero
        let end = ContinuousClock.now + timeout * 2
        await returnLeases(clock: clock)
        while statistics.leaseTokens.outstanding > 0, ContinuousClock.now < end {
            guard (try? await Task.sleep(for: .milliseconds(5))) != nil else { return }
            await returnLeases(clock: clock)
        }
    }
}
