internal import Cistern
internal import CisternAdmin
internal import Foundation
internal import Logging
internal import Synchronization

/// Keeps a limiter's limits those of the settings and the limits file, while both change.
///
/// The file is looked at once a second, and read again where it has changed and then stayed as it is for a second: one that
/// is being written may look whole and not be. A file that is wrong is refused whole, and the limits of before stay in force.
final class LimitsKeeper: Sendable {
    private struct State {
        var standard: Limit
        var path: String?
        /// What the file was like when it was last read; nil where it was not there, or has not been read here.
        var stamp: Stamp?
        /// What it was like when it was last looked at.
        var seen: Stamp?
        var applied: UInt64 = 0
        var rejected: UInt64 = 0
        var rejection: String?
    }

    /// What tells one state of a file from another without reading it.
    private struct Stamp: Equatable {
        let modified: Date?
        let size: Int?
        let number: Int?

        init?(path: String) {
            // The file that a name leads to: a mounted configuration changes by its links.
            let path = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
            guard let attributes = try? FileManager.default.attributesOfItem(atPath: path) else { return nil }
            modified = attributes[.modificationDate] as? Date
            size = attributes[.size] as? Int
            number = attributes[.systemFileNumber] as? Int
        }
    }

    private let limiter: RateLimiter
    private let clock: any TimeSource
    private let logger: Logger
    private let state: Mutex<State>
    /// Held while the file is read and put into force, so that no older state of it comes last.
    private let reading = Mutex(())

    /// - Parameters:
    ///   - standard: the limit of organisations without one of their own, unless the file has another.
    ///   - path: the limits file, which is in force as it was some time ago; nil for none.
    init(standard: Limit, path: String?, limiter: RateLimiter, clock: any TimeSource, logger: Logger) {
        self.limiter = limiter
        self.clock = clock
        self.logger = logger
        state = Mutex(State(standard: standard, path: path))
    }

    /// Looks at the file once a second, until the task is cancelled.
    func run() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: .seconds(1))
            if !Task.isCancelled { readIfChanged() }
        }
    }

    private func readIfChanged() {
        guard let path = state.withLock({ $0.path }) else { return }
        let now = Stamp(path: path)
        let isSettled = state.withLock { state in
            defer { state.seen = now }
            return now == state.seen && now != state.stamp
        }
        if isSettled { read() }
    }

    /// Goes over to another default or another file.
    func change(standard: Limit, path: String?) {
        state.withLock { state in
            state.standard = standard
            state.path = path
        }
        read()
    }

    /// Reads the file and puts it into force, or says why not.
    private func read() {
        reading.withLock { _ in readAlone() }
    }

    private func readAlone() {
        let (standard, path) = state.withLock { state in
            state.stamp = state.path.flatMap { Stamp(path: $0) }
            return (state.standard, state.path)
        }
        guard let path else {
            state.withLock { $0.rejection = nil }
            return apply(Limits(standard: standard))
        }
        do {
            let limits = try LimitsFile.read(path, standard: standard)
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
            logger.error(
                "the limits file is refused; the limits of before stay in force", metadata: ["reason": "\(error)"])
        }
    }

    private func apply(_ limits: Limits) {
        let before = limiter.limits
        limiter.changeLimits(now: clock.now()) { $0.replaced(by: limits) }
        guard before.replaced(by: limits) != before else { return }
        logger.notice(
            "limits are in force",
            metadata: [
                "organizations": "\(limits.organizationCount)",
                "default": "\(limits.standard.capacity) tokens, \(limits.standard.refillPerSecond)/s",
            ])
    }

    /// Where the limits come from, and how that went.
    var report: ServerSnapshot.Limits {
        let limits = limiter.limits
        return state.withLock { state in
            var report = ServerSnapshot.Limits()
            report.standard = limits.standard
            report.organizations = limits.organizationCount
            report.overrides = limits.overrideCount
            report.file = state.path
            report.rejection = state.rejection
            report.fileReadsApplied = state.applied
            report.fileReadsRejected = state.rejected
            return report
        }
    }
}
