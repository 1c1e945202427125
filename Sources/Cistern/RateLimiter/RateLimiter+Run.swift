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
    /// confirmed every return or five seconds have passed. Without a store it only reports metrics, and calling it is
    /// optional.
    ///
    /// - Throws: ``AlreadyRunError`` at a second call. An unreachable store is no error: the failure policy decides
    ///   until it is reachable.
    public func run() async throws {
        guard lifecycle.begin() else { throw AlreadyRunError() }
        await store?.start()
        let overrides = OverrideRefresh()
        await refresh(overrides)
        decidesFromMemory.store(true, ordering: .releasing)
        lifecycle.change(to: .running)
        #if ServiceLifecycle
            await cancelWhenGracefulShutdown { await self.maintain(overrides) }
        #else
            await maintain(overrides)
        #endif
        lifecycle.change(to: .stopped)
        guard let store else { return }
        decidesFromMemory.store(false, ordering: .releasing)
        // A canceled task must still return the leases.
        await Task { [engine, timeSource] in
            _ = await withDeadline(.seconds(5)) { await engine.returnLeases(clock: timeSource) }
            await store.stop()
        }.value
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
        while lifecycle.phase == .new || lifecycle.phase == .starting {
            _ = await lifecycle.waitForStart(atMost: .seconds(10))
        }
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
    private func maintain(_ overrides: OverrideRefresh) async {
        await withTaskGroup(of: Void.self) { group in
            if store != nil {
                // Often enough that an idle key's tokens are returned soon after `lease.idle`.
                group.addTask {
                    await Self.repeating(every: { .milliseconds(max(10, min(100, self.idleMilliseconds / 4))) }) {
                        self.engine.returnIdleLeases(now: self.timeSource.now())
                    }
                }
                group.addTask {
                    await Self.repeating(every: { .milliseconds(min(500, self.durationMilliseconds / 4)) }) {
                        await self.refresh(overrides)
                    }
                }
            }
            #if Observability
                group.addTask {
                    await Self.repeating(every: { .seconds(1) }) { self.report() }
                    self.report()
                }
            #endif
            // Without any of these there is still an end to wait for.
            group.addTask { await Self.repeating(every: { .seconds(3600) }) {} }
        }
    }

    private var idleMilliseconds: Int64 { (engine.leaseSettings ?? settings.lease).idleMilliseconds }
    private var durationMilliseconds: Int64 { (engine.leaseSettings ?? settings.lease).durationMilliseconds }

    #if Observability
        private func report() { observer.report(statistics, nodes: nodeStates) }
    #endif

    private func refresh(_ overrides: OverrideRefresh) async {
        guard let limits = await store?.overrides() else { return }
        guard overrides.isChange(limits) else { return }
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
