internal import NIOCore

/// Rejects a connection above the limit with a 503 and closes it.
///
/// If `lingers` is true, it discards input for up to one second before it closes: closing with unread bytes would reset
/// the connection before the client has read the response.
final class RejectedConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let response: StaticString = """
        HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n
        """

    private let lingers: Bool
    private var end: Scheduled<Void>?

    /// - Parameter lingers: whether the client gets time to close the connection first.
    init(lingers: Bool) {
        self.lingers = lingers
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { response(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        response(context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .some(.inputClosed) = event as? ChannelEvent { context.close(promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end?.cancel()
    }

    private func response(_ context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(staticString: Self.response)), promise: nil)
        guard lingers else { return context.close(promise: nil) }
        context.close(mode: .output, promise: nil)
        let channel = context.channel
        end = context.eventLoop.scheduleTask(in: .seconds(1)) { channel.close(promise: nil) }
    }
}
