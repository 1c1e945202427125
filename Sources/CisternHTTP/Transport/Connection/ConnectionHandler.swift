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

    private static let maximumReusedBufferBytes = 1 << 14
    /// How many bytes of responses are collected before a flush.
    ///
    /// If the client does not read the responses, the handler stops reading requests.
    private static let maximumOutboundBytes = 1 << 16

    private let limiter: any Decider
    private let settings: HTTPSettings
    private let loop: LoopContext
    private var context: ChannelHandlerContext?
    /// Hands a decision from any thread to the event loop.
    ///
    /// It is allocated once per connection, not per request, because most requests never need it.
    private var resumeOnLoop: @Sendable (Decision) -> Void = { _ in }

    private var machine: HTTPConnectionStateMachine
    private var timer: ConnectionTimer
    private var parser: RequestParser
    /// The request that waits for its decision.
    private var pending: (request: RequestPipeline.PendingRequest, framing: ResponseFraming)?
    /// The received bytes that have not been parsed yet.
    private(set) var inbound = ByteBuffer()
    private var outbound = ByteBuffer()
    private var bodyReservation: BodyBudgetReservation

    init(limiter: any Decider, settings: HTTPSettings, loop: LoopContext, eventLoop: any EventLoop) {
        self.limiter = limiter
        self.settings = settings
        self.loop = loop
        bodyReservation = BodyBudgetReservation(to: loop.bodyBudget)
        let now = eventLoop.now
        machine = HTTPConnectionStateMachine(
            timeouts: HTTPConnectionStateMachine.Timeouts(
                request: .milliseconds(settings.requestTimeoutMilliseconds),
                idle: .milliseconds(settings.idleTimeoutMilliseconds)),
            now: now)
        timer = ConnectionTimer(settings: settings, now: now)
        parser = RequestParser(
            maximumHeaderBytes: settings.maximumHeaderBytes, maximumBodyBytes: settings.maximumBodyBytes)
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let eventLoop = context.eventLoop
        let handler = NIOLoopBound(self, eventLoop: eventLoop)
        resumeOnLoop = { decision in eventLoop.execute { handler.value.resume(decision) } }
        scheduleExpiryCheck(context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer.cancel()
        bodyReservation.release()
        self.context = nil
        // Breaks the reference cycle between the closure and this handler.
        resumeOnLoop = { _ in }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if inbound.readableBytes > 0 {
            // Without this call, the buffer would keep parsed bytes until a read leaves it empty.
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
            let now = context.eventLoop.now
            if machine.drain(now: now, hasBufferedInput: hasBufferedInput) { scheduleExpiryCheck(context) }
        } else if case .some(.inputClosed) = event as? ChannelEvent {
            machine.inputClosed()
            closeIfHalfClosed(context)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func read(context: ChannelHandlerContext) {
        if machine.read(hasBufferedInput: hasBufferedInput) { context.read() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        let actions = machine.writabilityChanged(
            to: context.channel.isWritable, now: context.eventLoop.now, hasBufferedInput: hasBufferedInput)
        if actions.processesBuffered { processBuffered(context) }
        resumeReading(context)
        if actions.reschedules { scheduleExpiryCheck(context) }
        context.fireChannelWritabilityChanged()
    }

    private var hasBufferedInput: Bool { inbound.readableBytes > 0 }

    private func resumeReading(_ context: ChannelHandlerContext) {
        if machine.takePendingRead() { read(context: context) }
    }

    // MARK: Requests

    /// Processes the received requests until one has to wait or the client falls behind, and buffers the rest.
    private func readRequests(from bytes: consuming ByteBuffer, _ context: ChannelHandlerContext) {
        let now = context.eventLoop.now
        machine.beginParsing()
        defer { machine.endParsing() }
        while bytes.readableBytes > 0 || parser.mustSendContinue, machine.acceptsRequests {
            if outbound.readableBytes >= Self.maximumOutboundBytes {
                flush(context)
                guard machine.mayParseMore else { break }
            }
            switch parser.next(in: &bytes) {
            case .incomplete: return keep(bytes, now: now, context)
            case .head(let request, let framing):
                machine.requestBegan(now: now)
                handleHead(request, framing, &bytes, context)
            case .sendContinue: outbound.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
            case .request(let request, let framing):
                machine.requestArrived(now: now)
                admit(request, framing, now: now, context)
            case .refusal(let refusal, let framing): refuse(refusal, framing, context)
            }
        }
        if machine.state == .lingering || machine.state == .flushed { return }
        if bytes.readableBytes > 0 { inbound = bytes }
    }

    private func processBuffered(_ context: ChannelHandlerContext) {
        readRequests(from: takeInbound(), context)
        closeIfHalfClosed(context)
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
        if parser.isBetweenRequests { return }
        machine.requestBegan(now: now)
        guard parser.isInBody else { return machine.headContinued(now: now) }
        guard bodyReservation.set(parser.bodyBufferBytes + inbound.storageCapacity) else {
            return refuse(.tooManyBodies, parser.framing, context)
        }
    }

    /// Handles a head that arrived before its body: rejects an invalid request now, and discards an unused body.
    private func handleHead(
        _ request: Request, _ framing: ResponseFraming, _ bytes: inout ByteBuffer, _ context: ChannelHandlerContext
    ) {
        switch RequestPipeline.plan(forBodyOf: request, servesPages: settings.servesHealthAndMetrics) {
        case .keep: break
        case .skip: parser.skipBody(in: &bytes)
        case .response(let response, let route):
            var framing = framing
            framing.keepsAlive = false
            parser.end()
            write(response, route: route, framing: framing, context)
        }
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
                pending = (request, framing)
                machine.decisionPending(now: now)
            }
        }
    }

    /// Handles the store's decision: finishes the request that waited for it, then the requests buffered after it.
    private func resume(_ decision: Decision) {
        guard let context, machine.decided(hasBufferedInput: hasBufferedInput), let (request, framing) = pending else {
            return
        }
        pending = nil
        write(RequestPipeline.response(request, decision), to: request, framing: framing, context)
        processBuffered(context)
        resumeReading(context)
    }

    /// Closes a half-closed connection, once all of its requests have been processed.
    private func closeIfHalfClosed(_ context: ChannelHandlerContext) {
        if machine.mustCloseHalfClosed(hasBufferedInput: hasBufferedInput) { linger(context) }
    }

    // MARK: Responses

    private func write(
        _ response: borrowing Response, to request: borrowing RequestPipeline.PendingRequest, framing: ResponseFraming,
        _ context: ChannelHandlerContext
    ) {
        var framing = framing
        framing.keepsAlive = machine.keepsAlive(framing.keepsAlive, isDraining: loop.isDraining)
        loop.write(response, to: request, framing: framing, to: &outbound) { responseWritten(context) }
        endRequest(framing, context)
    }

    private func write(
        _ response: borrowing Response, route: Route, framing: ResponseFraming, _ context: ChannelHandlerContext
    ) {
        var framing = framing
        framing.keepsAlive = machine.keepsAlive(framing.keepsAlive, isDraining: loop.isDraining)
        loop.write(response, route: route, framing: framing, to: &outbound) { responseWritten(context) }
        endRequest(framing, context)
    }

    /// Ends a request whose response is written; returns how long the request took, in nanoseconds.
    private func responseWritten(_ context: ChannelHandlerContext) -> Int64 {
        bodyReservation.release()
        return machine.responded(now: context.eventLoop.now)
    }

    private func endRequest(_ framing: ResponseFraming, _ context: ChannelHandlerContext) {
        if framing.keepsAlive { machine.becameIdle() } else { linger(context) }
    }

    /// Responds with a request error and stops reading, since the start of the next request is uncertain.
    private func refuse(_ refusal: RequestError, _ framing: ResponseFraming, _ context: ChannelHandlerContext) {
        machine.requestArrived(now: context.eventLoop.now)
        var framing = framing
        framing.keepsAlive = false
        parser.end()
        inbound = ByteBuffer()
        var response = Response.error(refusal.status, refusal.message)
        if refusal.status == .serviceUnavailable { response.retryAfterSeconds = 1 }
        write(response, route: .invalid, framing: framing, context)
    }

    /// Writes the remaining responses, then closes the sending side, and later the connection.
    private func linger(_ context: ChannelHandlerContext) {
        switch machine.linger(now: context.eventLoop.now) {
        case .none: return
        case .close: context.close(promise: nil)
        case .flushLastResponse:
            let flushed = context.eventLoop.makePromise(of: Void.self)
            let bytes = outbound
            outbound = ByteBuffer()
            let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
            flushed.futureResult.whenSuccess { handler.value.finishLingering() }
            context.writeAndFlush(wrapOutboundOut(bytes), promise: flushed)
        }
    }

    private func finishLingering() {
        guard let context else { return }
        switch machine.flushed(now: context.eventLoop.now) {
        case .close: context.close(promise: nil)
        case .closeOutput:
            context.close(mode: .output, promise: nil)
            scheduleExpiryCheck(context)
        }
    }

    private func flush(_ context: ChannelHandlerContext) {
        let bytes = outbound
        guard bytes.readableBytes > 0 else { return }
        // Writing may re-enter this method, so the bytes are marked as sent first.
        outbound.moveReaderIndex(to: outbound.writerIndex)
        let isKept = bytes.capacity <= Self.maximumReusedBufferBytes
        context.writeAndFlush(wrapOutboundOut(consume bytes), promise: nil)
        guard outbound.readableBytes == 0 else { return }
        // Reuses the storage, unless it is large. The socket nearly always takes all bytes at once, and then no longer
        // refers to the storage.
        if isKept { outbound.clear() } else { outbound = ByteBuffer() }
    }

    // MARK: Time

    private func scheduleExpiryCheck(_ context: ChannelHandlerContext) {
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        timer.schedule(machine.expiresAt, on: context.eventLoop) { handler.value.checkExpiry() }
    }

    private func checkExpiry() {
        guard let context else { return }
        let now = context.eventLoop.now
        if timer.reachesMaximumAge(now: now) { machine.reachedMaximumAge() }
        let action = machine.expire(now: now, hasBufferedInput: hasBufferedInput) {
            SocketState.hasUnreadInput(context.channel)
        }
        switch action {
        case .none: break
        case .refuseSlowRequest: refuse(.tooSlow(settings.requestTimeoutMilliseconds), parser.framing, context)
        case .linger: linger(context)
        case .close: context.close(promise: nil)
        }
        // A closed channel has removed this handler or will do so.
        if self.context != nil, context.channel.isActive { scheduleExpiryCheck(context) }
    }
}
