internal import Cistern
internal import CisternSupport
internal import Logging
internal import NIOCore
internal import Synchronization

#if canImport(Darwin)
    internal import Darwin
#else
    internal import Glibc
#endif

/// Pauses accepting when the system runs out of file descriptors or memory, and logs accept errors.
///
/// Without the pause, the event loop would retry `accept` in a busy loop.
final class AcceptErrorHandler: ChannelInboundHandler {
    typealias InboundIn = any Channel

    private static let pause = TimeAmount.milliseconds(100)

    private let clock: any TimeSource
    private let logger: Logger
    private let counted: @Sendable () -> Void
    private var throttle = LogThrottle()

    /// - Parameter counted: called once per failed accept.
    init(clock: any TimeSource, logger: Logger, counted: @escaping @Sendable () -> Void) {
        self.clock = clock
        self.logger = logger
        self.counted = counted
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        counted()
        if let suppressed = throttle.permit(now: clock.now()) {
            logger.error(
                "cannot accept a connection",
                metadata: [
                    "reason": "\(error)", "suppressed": "\(suppressed)",
                    "remedy": "raise the limit of open files (ulimit -n, LimitNOFILE=) or lower maxConnections",
                ])
        }
        guard let code = (error as? IOError)?.errnoCode, [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(code) else {
            return
        }
        let channel = context.channel
        guard (try? channel.syncOptions?.setOption(.autoRead, value: false)) != nil else { return }
        context.eventLoop.scheduleTask(in: Self.pause) {
            channel.setOption(.autoRead, value: true).whenFailure { _ in channel.close(promise: nil) }
        }
    }
}
