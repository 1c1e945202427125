internal import Cistern
internal import DequeModule
internal import NIOCore

/// One connection of a load: sends requests, and matches responses to them in order.
final class HTTPLoadConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private struct Request {
        let organization: UInt32
        let intended: Instant
        let sentAt: Instant
    }

    let target: HTTPTarget
    /// The index of the server among the targets.
    let server: Int
    private let head: [UInt8]
    private let part: HTTPLoadPart
    private var context: ChannelHandlerContext?
    private var waiting: Deque<Request> = []
    private var unsent: ByteBuffer?
    private var unread = ByteBuffer()
    private var isClosing = false

    init(_ target: HTTPTarget, server: Int, part: HTTPLoadPart) {
        self.target = target
        self.server = server
        head = target.head
        self.part = part
    }

    /// The number of requests without a response.
    var inFlight: Int { waiting.count }

    var hasRoom: Bool { context != nil && waiting.count < part.depth }

    /// Sends requests until the connection has no more room.
    func fill(now: Instant) {
        while hasRoom, part.phase.current.sends { send(intended: now, now: now) }
    }

    /// Buffers one request; ``flush()`` sends it.
    func send(intended: Instant, now: Instant) {
        guard let context else { return }
        let organization = part.nextOrganization()
        var buffer = unsent ?? context.channel.allocator.buffer(capacity: 256)
        unsent = nil
        buffer.writeBytes(head)
        buffer.writeBytes(part.workload.names[Int(organization)])
        buffer.writeBytes(HTTPTarget.rest)
        unsent = buffer
        waiting.append(Request(organization: organization, intended: intended, sentAt: now))
    }

    func flush() {
        guard let context, let buffer = unsent else { return }
        unsent = nil
        context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
    }

    func close() {
        isClosing = true
        context?.close(promise: nil)
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if unread.readableBytes > 0 {
            unread.writeBuffer(&bytes)
            swap(&unread, &bytes)
        }
        let now = part.clock.now()
        do {
            while let status = try ResponseReader.next(in: &bytes) {
                guard let request = waiting.popFirst() else {
                    throw ResponseReader.Malformed(description: "a response without a request")
                }
                part.take(
                    status, organization: request.organization, intended: request.intended, sentAt: request.sentAt,
                    now: now)
            }
        } catch {
            return end(context, "sent an invalid response (\(error))")
        }
        unread = bytes.readableBytes > 0 ? bytes : ByteBuffer()
        part.responsesHandled(on: self, now: now)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(context, "closed a connection")
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end(context, "broke a connection: \(error)")
    }

    private func end(_ context: ChannelHandlerContext, _ reason: String) {
        guard self.context != nil else { return }
        self.context = nil
        context.close(promise: nil)
        if !isClosing { part.connectionEnded(self, reason) }
    }
}
