internal import Cistern
internal import NIOCore

/// Handles one client's connection: reads requests, gets a decision for each, and writes the responses in order.
///
/// While a request waits for the store, or the client does not read its responses, further requests are buffered and
/// reading stops. So a connection buffers pipelined requests from at most one read. The handler runs on its channel's
/// event loop.
final class ConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    private static let keptOutboundBytes = 1 << 14
    /// How long a client may take to close the connection after its last response.
    static let lingerTime = TimeAmount.seconds(1)
    /// How many bytes of responses are collected before a flush.
    ///
    /// If the client does not read them, reading stops.
    private static let maximumOutboundBytes = 1 << 16
    /// How long an idle connection may still send a request while the server drains.
    private static let drainGrace = TimeAmount.milliseconds(250)
    /// A safety limit on the wait for a decision; the store timeout, which is much shorter, should always end it.
    private static let decisionTimeout = TimeAmount.seconds(60)

    private let limiter: any Decider
    private let settings: HTTPSettings
    private let loop: LoopContext
    private var context: ChannelHandlerContext?
    /// Hands a decision from any thread to the event loop; allocated once, since most requests never call it.
    private var resumeOnLoop: @Sendable (Decision) -> Void = { _ in }

    private var state = ConnectionState.idle
    private var reader: RequestParser
    /// The received bytes that have not been parsed yet.
    private(set) var inbound = ByteBuffer()
    private var outbound = ByteBuffer()
    private var bodyCharge: BodyCharge
    private var hasPendingRead = false
    /// Whether requests are being parsed; needed because writing a response may re-enter this handler.
    private var isParsing = false
    /// Whether the client keeps up with reading its responses.
    private var isWritable = true
    /// Whether the next response is the last: the server drains, or the connection is too old or half-closed.
    private var isQuiescing = false
    /// Whether the client has closed its sending side.
    private var isInputClosed = false
    /// Whether the last response has been written to the socket completely.
    private var isFlushed = false
    /// When the current request arrived, or its head if the body arrived later.
    private var startedAt = NIODeadline.distantPast
    private var timer: ConnectionTimer

    init(limiter: any Decider, settings: HTTPSettings, loop: LoopContext) {
        self.limiter = limiter
        self.settings = settings
        self.loop = loop
        bodyCharge = BodyCharge(to: loop.bodyBudget)
        timer = ConnectionTimer(settings: settings, now: .now())
        reader = RequestParser(
            maximumHeaderBytes: settings.maximumHeaderBytes, maximumBodyBytes: settings.maximumBodyBytes)
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let eventLoop = context.eventLoop
        let handler = NIOLoopBound(self, eventLoop: eventLoop)
        resumeOnLoop = { decision in eventLoop.execute { handler.value.resume(decision) } }
        timer = ConnectionTimer(settings: settings, now: eventLoop.now)
        scheduleExpiryCheck(context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer.cancel()
        bodyCharge.release()
        self.context = nil
        // Breaks the reference cycle between the closure and this handler.
        resumeOnLoop = { _ in }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if inbound.readableBytes > 0 {
            // Otherwise, parsed bytes would be retained until a read ends at the end of a request.
            inbound.discardReadBytes()
            inbound.writeBuffer(&bytes)
            bytes = takeInbound()
        }
        readRequests(from: bytes, context)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        flush(context)
        context.fireChannelReadComplete()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent {
            isQuiescing = true
            startDrainGrace(context)
        } else if case .some(.inputClosed) = event as? ChannelEvent {
            isInputClosed = true
            closeIfInputClosed(context)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func read(context: ChannelHandlerContext) {
        if shouldPauseReading {
            hasPendingRead = true
        } else {
            context.read()
        }
    }

    /// Whether reading pauses.
    ///
    /// It continues while a client waits and sends nothing, as most do: pausing and resuming costs two system calls.
    private var shouldPauseReading: Bool {
        if case .deciding = state, inbound.readableBytes > 0 { return true }
        return !isWritable
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        isWritable = context.channel.isWritable
        if isWritable, !isParsing, inbound.readableBytes > 0, state.isReading { processBuffered(context) }
        resumeReading(context)
        if isQuiescing { startDrainGrace(context) }
        context.fireChannelWritabilityChanged()
    }

    /// While the server drains, gives an idle client `drainGrace` for one more request.
    private func startDrainGrace(_ context: ChannelHandlerContext) {
        guard case .idle = state, isWritable, inbound.readableBytes == 0 else { return }
        timer.expiresAt = min(timer.expiresAt, context.eventLoop.now + Self.drainGrace)
        scheduleExpiryCheck(context)
    }

    private func resumeReading(_ context: ChannelHandlerContext) {
        guard hasPendingRead else { return }
        hasPendingRead = false
        read(context: context)
    }

    // MARK: Requests

    /// Processes the received requests until one has to wait or the client falls behind, and buffers the rest.
    private func readRequests(from bytes: consuming ByteBuffer, _ context: ChannelHandlerContext) {
        let now = context.eventLoop.now
        isParsing = true
        defer { isParsing = false }
        while bytes.readableBytes > 0 || reader.mustSendContinue, state.isReading {
            if outbound.readableBytes >= Self.maximumOutboundBytes {
                flush(context)
                guard isWritable else { break }
            }
            switch reader.next(in: &bytes) {
            case .incomplete: return keep(bytes, now: now, context)
            case .head(let request, let framing):
                begin(now)
                plan(request, framing, &bytes, context)
            case .sendContinue: outbound.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
            case .request(let request, let framing):
                if case .idle = state { startedAt = now }
                admit(request, framing, now: now, context)
            case .refusal(let refusal, let framing): refuse(refusal, framing, context)
            }
        }
        if case .lingering = state { return }
        if bytes.readableBytes > 0 { inbound = bytes }
    }

    private func processBuffered(_ context: ChannelHandlerContext) {
        readRequests(from: takeInbound(), context)
        closeIfInputClosed(context)
        flush(context)
    }

    private func takeInbound() -> ByteBuffer {
        defer { inbound = ByteBuffer() }
        return inbound
    }

    /// Buffers an incomplete request, whose timeout starts at its first byte.
    private func keep(_ bytes: consuming ByteBuffer, now: NIODeadline, _ context: ChannelHandlerContext) {
        // An empty buffer is not kept, so its memory is freed.
        if bytes.readableBytes > 0 { inbound = bytes }
        if reader.isBetweenRequests { return }
        begin(now)
        guard reader.isInBody else { return startedAt = now }
        guard bodyCharge.set(reader.bodyBufferBytes + inbound.storageCapacity) else {
            return refuse(.tooManyBodies, reader.framing, context)
        }
    }

    /// Handles a head that arrived before its body: rejects an invalid request now, and discards an unused body.
    private func plan(
        _ request: Request, _ framing: ResponseFraming, _ bytes: inout ByteBuffer, _ context: ChannelHandlerContext
    ) {
        switch RequestPipeline.plan(forBodyOf: request, servesPages: settings.servesHealthAndMetrics) {
        case .keep: break
        case .skip: reader.skipBody(in: &bytes)
        case .response(let response, let route):
            var framing = framing
            framing.keepsAlive = false
            reader.end()
            write(response, route: route, framing: framing, context)
        }
    }

    private func begin(_ now: NIODeadline) {
        guard case .idle = state else { return }
        state = .receiving
        startedAt = now
        timer.expiresAt = now + .milliseconds(settings.requestTimeoutMilliseconds)
    }

    private func admit(
        _ request: Request, _ framing: ResponseFraming, now: NIODeadline, _ context: ChannelHandlerContext
    ) {
        switch RequestPipeline.admit(request, servesPages: settings.servesHealthAndMetrics) {
        case .response(let response, let route): write(response, route: route, framing: framing, context)
        case .page(let page): write(loop.page(page, now: now), route: page.route, framing: framing, context)
        case .decide(let request):
            let identity = request.identity
            let decision = limiter.decide(
                identity.bytes.readableBytesUInt8Span.extracting(identity.organization), cost: 1,
                now: loop.clock.now(), resume: resumeOnLoop)
            if let decision {
                write(RequestPipeline.response(request, decision), to: request, framing: framing, context)
            } else {
                state = .deciding(request, framing)
                timer.expiresAt = now + Self.decisionTimeout
            }
        }
    }

    /// Handles the store's decision: finishes the request that waited for it, then the requests buffered after it.
    private func resume(_ decision: Decision) {
        guard let context, case .deciding(let request, let framing) = state else { return }
        if isInputClosed, inbound.readableBytes == 0 { isQuiescing = true }
        write(RequestPipeline.response(request, decision), to: request, framing: framing, context)
        processBuffered(context)
        resumeReading(context)
    }

    /// Closes a half-closed connection, once all of its requests have been processed.
    private func closeIfInputClosed(_ context: ChannelHandlerContext) {
        guard isInputClosed else { return }
        if case .deciding = state { return }
        // Complete requests may be buffered while the client does not read its responses.
        if !isWritable, state.isReading, inbound.readableBytes > 0 { return }
        linger(context)
    }

    // MARK: Responses

    private func write(
        _ response: borrowing Response, to request: borrowing RequestPipeline.PendingRequest, framing: ResponseFraming,
        _ context: ChannelHandlerContext
    ) {
        var framing = framing
        if isQuiescing || loop.isDraining { framing.keepsAlive = false }
        loop.write(response, to: request, framing: framing, to: &outbound) { finish(context) }
        goOn(framing, context)
    }

    private func write(
        _ response: borrowing Response, route: Route, framing: ResponseFraming, _ context: ChannelHandlerContext
    ) {
        var framing = framing
        if isQuiescing || loop.isDraining { framing.keepsAlive = false }
        loop.write(response, route: route, framing: framing, to: &outbound) { finish(context) }
        goOn(framing, context)
    }

    /// Ends a request whose response is written; returns how long the request took, in nanoseconds.
    private func finish(_ context: ChannelHandlerContext) -> Int64 {
        let end = context.eventLoop.now
        timer.expiresAt = end + .milliseconds(settings.idleTimeoutMilliseconds)
        bodyCharge.release()
        return (end - startedAt).nanoseconds
    }

    private func goOn(_ framing: ResponseFraming, _ context: ChannelHandlerContext) {
        if framing.keepsAlive {
            state = .idle
        } else {
            linger(context)
        }
    }

    /// Responds with a request error and stops reading, since the start of the next request is uncertain.
    private func refuse(_ refusal: RequestError, _ framing: ResponseFraming, _ context: ChannelHandlerContext) {
        if case .idle = state { startedAt = context.eventLoop.now }
        var framing = framing
        framing.keepsAlive = false
        reader.end()
        inbound = ByteBuffer()
        var response = Response.error(refusal.status, refusal.message)
        if refusal.status == .serviceUnavailable { response.retryAfterSeconds = 1 }
        write(response, route: .invalid, framing: framing, context)
    }

    /// Writes the remaining responses, then closes the sending side, and later the connection.
    ///
    /// The connection stays open until every byte is written, at most for the idle timeout: closing discards the rest.
    /// The two steps let a client that is still sending read the response before the connection breaks.
    private func linger(_ context: ChannelHandlerContext) {
        if case .lingering = state {
            if isFlushed { context.close(promise: nil) }
            return
        }
        state = .lingering
        timer.expiresAt = context.eventLoop.now + .milliseconds(settings.idleTimeoutMilliseconds)
        let drained = context.eventLoop.makePromise(of: Void.self)
        let bytes = outbound
        outbound = ByteBuffer()
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        drained.futureResult.whenSuccess { handler.value.finishLingering() }
        context.writeAndFlush(wrapOutboundOut(bytes), promise: drained)
    }

    /// Closes the sending side after the last byte is written, and gives the client `lingerTime` to close.
    private func finishLingering() {
        guard let context else { return }
        isFlushed = true
        if isInputClosed { return context.close(promise: nil) }
        context.close(mode: .output, promise: nil)
        timer.expiresAt = context.eventLoop.now + Self.lingerTime
        scheduleExpiryCheck(context)
    }

    private func flush(_ context: ChannelHandlerContext) {
        let bytes = outbound
        guard bytes.readableBytes > 0 else { return }
        // Writing may re-enter this method, so the bytes are marked as sent first.
        outbound.moveReaderIndex(to: outbound.writerIndex)
        let isKept = bytes.capacity <= Self.keptOutboundBytes
        context.writeAndFlush(wrapOutboundOut(consume bytes), promise: nil)
        guard outbound.readableBytes == 0 else { return }
        // Reuses the storage, unless it is large. The socket nearly always takes all bytes at once and releases it.
        if isKept { outbound.clear() } else { outbound = ByteBuffer() }
    }

    // MARK: Time

    private func scheduleExpiryCheck(_ context: ChannelHandlerContext) {
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        timer.schedule(on: context.eventLoop) { handler.value.checkExpiry() }
    }

    private func checkExpiry() {
        guard let context else { return }
        let now = context.eventLoop.now
        if timer.reachesMaximumAge(now: now) { isQuiescing = true }
        if now >= timer.expiresAt { expire(context, now) }
        // A closed channel has removed this handler or will do so.
        if self.context != nil, context.channel.isActive { scheduleExpiryCheck(context) }
    }

    private func expire(_ context: ChannelHandlerContext, _ now: NIODeadline) {
        switch state {
        case .idle:
            // The client reads nothing, so it would never read a last response.
            guard isWritable, inbound.readableBytes == 0 else { return context.close(promise: nil) }
            // A request in the socket's buffer is read within milliseconds and gets a response.
            if SocketState.hasUnreadInput(context.channel) {
                timer.expiresAt = now + .milliseconds(1)
            } else {
                linger(context)
            }
        case .receiving:
            refuse(.tooSlow(settings.requestTimeoutMilliseconds), reader.framing, context)
        case .deciding, .lingering: context.close(promise: nil)
        }
    }
}
