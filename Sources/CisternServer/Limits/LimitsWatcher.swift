internal import Cistern
internal import CisternAdmin
internal import Logging
internal import Synchronization

/// Applies the limits of the settings and the limits file to a limiter whenever either changes.
///
/// Checks the file once a second. An invalid file is rejected as a whole, keeping the previous limits.
final class LimitsWatcher: Sendable {
    private struct State {
        var standard: Limit
        var path: String?
        var file = WatchedFile()
        var applied: UInt64 = 0
        var rejected: UInt64 = 0
        var rejection: String?
    }

    private let limiter: RateLimiterEngine
    private let clock: any TimeSource
    private let logger: Logger
    private let state: Mutex<State>
    /// Held while the file is read and applied, so that an older state never replaces a newer one.
    private let reading = Mutex(())

    /// - Parameters:
    ///   - standard: the limit of organizations without their own, unless the file has a default.
    ///   - path: the limits file; nil for none. The limiter may already use limits that were read from it.
    init(standard: Limit, path: String?, limiter: RateLimiterEngine, clock: any TimeSource, logger: Logger) {
        self.limiter = limiter
        self.clock = clock
        self.logger = logger
        var file = WatchedFile()
        // Do not apply the file again if its limits are already in force.
        if let path, let snapshot = WatchedFile.snapshot(at: path),
            let limits = try? LimitsFile.read(snapshot, path: path, standard: standard),
            limiter.limits.replaced(by: limits) == limiter.limits
        {
            file.take(snapshot)
        }
        state = Mutex(State(standard: standard, path: path, file: file))
    }

    /// Checks the file once a second until the task is canceled.
    func run() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: .seconds(1))
            if !Task.isCancelled { readIfChanged() }
        }
    }

    private func readIfChanged() {
        reading.withLock { _ in
            let (standard, path) = state.withLock { ($0.standard, $0.path) }
            guard let path, let snapshot = WatchedFile.snapshot(at: path),
                let settled = state.withLock({ $0.file.settle(snapshot) })
            else { return }
            apply(path: path) { () throws(SettingsError) in
                try LimitsFile.read(settled, path: path, standard: standard)
            }
        }
    }

    /// Changes the default limit and the file, and applies both.
    func change(standard: Limit, path: String?) {
        reading.withLock { _ in
            state.withLock { state in
                state.standard = standard
                state.path = path
            }
            guard let path else {
                state.withLock { $0.rejection = nil }
                return apply(Limits(standard: standard))
            }
            let snapshot = WatchedFile.snapshot(at: path)
            if let snapshot { state.withLock { $0.file.take(snapshot) } }
            apply(path: path) { () throws(SettingsError) in
                guard let snapshot else { return try LimitsFile.read(path, standard: standard) }
                return try LimitsFile.read(snapshot, path: path, standard: standard)
            }
        }
    }

    /// Applies the limits that `read` returns, or logs why it failed.
    private func apply(path: String, _ read: () throws(SettingsError) -> Limits) {
        do {
            let limits = try read()
            state.withLock { state in
                state.applied += 1
                state.rejection = nil
            }
            apply(limits)
        } catch {
            state.withLock { state in
                state.rejected += 1
                state.rejection = error.description
            }
            logger.error("the limits file is invalid, keeping the previous limits", metadata: ["reason": "\(error)"])
        }
    }

    private func apply(_ limits: Limits) {
        let before = limiter.limits
        limiter.changeLimits(now: clock.now()) { $0.replaced(by: limits) }
        guard before.replaced(by: limits) != before else { return }
        logger.notice(
            "limits are in force",
            metadata: [
                "organizations": "\(limits.keyCount)",
                "default": "\(limits.standard.capacity) tokens, \(limits.standard.refill)",
            ])
    }

    /// The source of the limits, and the results of reading it.
    var report: ServerSnapshot.Limits {
        let limits = limiter.limits
        return state.withLock { state in
            var report = ServerSnapshot.Limits()
            report.standard = limits.standard
            report.organizations = limits.keyCount
            report.overrides = limits.overrideCount
            report.file = state.path
            report.rejection = state.rejection
            report.fileReadsApplied = state.applied
            report.fileReadsRejected = state.rejected
            return report
        }
    }
}
