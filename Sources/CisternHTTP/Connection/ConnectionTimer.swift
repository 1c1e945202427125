internal import NIOCore

/// When a connection is given up, and when it has become too old.
///
/// Setting ``expiresAt`` is an assignment and never reschedules: a check comes in any case before a request, or a
/// pause, that begins now could end.
struct ConnectionTimer {
    /// When the connection is given up, if nothing happens before.
    var expiresAt: NIODeadline
    private var retiresAt = NIODeadline.distantFuture
    private let longestInterval: TimeAmount
    private var check: Scheduled<Void>?

    init(settings: HTTPSettings, now: NIODeadline) {
        expiresAt = now + .milliseconds(settings.idleTimeoutMilliseconds)
        longestInterval = .milliseconds(min(settings.requestTimeoutMilliseconds, settings.idleTimeoutMilliseconds))
        guard settings.maximumConnectionAgeMilliseconds > 0 else { return }
        let age = Double(settings.maximumConnectionAgeMilliseconds) * Double.random(in: 0.9...1.1)
        retiresAt = now + .milliseconds(Int64(age))
    }

    /// Whether the connection has become too old since the last call.
    mutating func retires(now: NIODeadline) -> Bool {
        guard now >= retiresAt else { return false }
        retiresAt = .distantFuture
        return true
    }

    mutating func schedule(on eventLoop: any EventLoop, _ body: @escaping @Sendable () -> Void) {
        check?.cancel()
        let latest = min(eventLoop.now + longestInterval, retiresAt)
        check = eventLoop.scheduleTask(deadline: min(expiresAt, latest), body)
    }

    func cancel() {
        check?.cancel()
    }
}
