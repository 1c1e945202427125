internal import NIOCore

/// Schedules a connection's expiry checks, and knows its maximum age.
///
/// Moving the expiry to a later time never requires rescheduling. The next check is at most one request timeout or idle
/// timeout away, whichever is shorter, so it comes before any expiry that is set in the meantime.
struct ConnectionTimer {
    private var maximumAgeReachedAt = NIODeadline.distantFuture
    private let longestInterval: TimeAmount
    private var check: Scheduled<Void>?

    init(settings: HTTPSettings, now: NIODeadline) {
        longestInterval = .milliseconds(min(settings.requestTimeoutMilliseconds, settings.idleTimeoutMilliseconds))
        guard settings.maximumConnectionAgeMilliseconds > 0 else { return }
        let age = Double(settings.maximumConnectionAgeMilliseconds) * Double.random(in: 0.9...1.1)
        maximumAgeReachedAt = now + .milliseconds(Int64(age))
    }

    /// Whether the connection has exceeded its maximum age since the last call.
    mutating func reachesMaximumAge(now: NIODeadline) -> Bool {
        guard now >= maximumAgeReachedAt else { return false }
        maximumAgeReachedAt = .distantFuture
        return true
    }

    mutating func schedule(
        _ expiresAt: NIODeadline, on eventLoop: any EventLoop, _ body: @escaping @Sendable () -> Void
    ) {
        check?.cancel()
        let latest = min(eventLoop.now + longestInterval, maximumAgeReachedAt)
        check = eventLoop.scheduleTask(deadline: min(expiresAt, latest), body)
    }

    func cancel() {
        check?.cancel()
    }
}
