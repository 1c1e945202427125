import NIOCore
import NIOEmbedded

/// A client that reads nothing until told to: written bytes stay queued, and the channel is not writable.
final class StalledClient: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var kept: [(data: NIOAny, promise: EventLoopPromise<Void>?)] = []
    private(set) var keptBytes = 0
    private var isStalled = true

    /// Puts a stalled client at the far end of a connection.
    init(of connection: EmbeddedConnection) throws {
        try connection.channel.pipeline.syncOperations.addHandler(self, position: .first)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard isStalled else { return context.write(data, promise: promise) }
        keptBytes += unwrapOutboundIn(data).readableBytes
        kept.append((data, promise))
        setWritable(false, context)
    }

    /// Reads everything that was written and everything that is written from now on.
    func goOn(on connection: EmbeddedConnection) throws {
        let context = try connection.channel.pipeline.syncOperations.context(handler: self)
        isStalled = false
        for (data, promise) in kept { context.writeAndFlush(data, promise: promise) }
        kept = []
        setWritable(true, context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        for (_, promise) in kept { promise?.fail(ChannelError.ioOnClosedChannel) }
    }

    private func setWritable(_ isWritable: Bool, _ context: ChannelHandlerContext) {
        guard let channel = context.channel as? EmbeddedChannel, channel.isWritable != isWritable else { return }
        channel.isWritable = isWritable
        context.fireChannelWritabilityChanged()
    }
}
