internal import Cistern
internal import NIOCore

/// One client's connection: reads requests one after the other, has each decided, and writes the answers in order.
///
/// While a request waits for the store, or the client does not take its answers, requests behind it are kept and
/// nothing more is read: a connection holds one read's worth of pipelined requests. It lives on its channel's event
/// loop.
final class ConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    private static let keptOutboundBytes = 1 << 14
    /// How long a client may take to hang up once it has its last answer.
    static let lingerTime = TimeAmount.seconds(1)
    /// How many bytes of answers are collected before they are written and, if the client does not take them, before
    /// reading stops.
    private static let maximumOutboundBytes = 1 << 16
    /// How long an idle connection may still send a request when the server drains.
    private static let drainGrace = TimeAmount.milliseconds(250)
    /// A bound on the wait for a decision; the store's timeout ends it long before.
    private static let decisionTime = TimeAmount.seconds(60)

    private let limiter: any Decider
    private let settings: HTTPSettings
    private let loop: LoopContext
    private var context: ChannelHandlerContext?
    /// Takes a decision from any thread; made once, since most requests never call it.
    private var resumeOnLoop: @Sendable (Decision) -> Void = { _ in }

    private var state = ConnectionState.idle
    private var reader: RequestReader
    /// What has come and has not been read as a request yet.
    private(set) var inbound = ByteBuffer()
    private var outbound = ByteBuffer()
    private var bodyCharge: BodyCharge
    private var isReadHeld = false
    /// Whether requests are being read now: writing answers may call back into this handler.
    private var isParsing = false
    /// Whether the client takes the answers as fast as they come.
    private var isWritable = true
    /// Whether the next answer is the last: the server drains, or nothing follows that could be answered.
    private var isQuiescing = false
    /// Whether the client will send no more.
    private var isHungUp = false
    /// Whether the client has taken the last answer.
    private var isDrained = false
    /// When the request at hand came: all of it or, where it comes in pieces, its head.
    private var startedAt = NIODeadline.distantPast
    private var timer: ConnectionTimer

    init(limiter: any Decider, settings: HTTPSettings, loop: LoopContext) {
        self.limiter = limiter
        self.settings = settings
        self.loop = loop
        bodyCharge = BodyCharge(to: loop.bodyBudget)
        timer = ConnectionTimer(settings: settings, now: .now())
        reader = RequestReader(
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
        // It holds this handler, and this handler it.
        resumeOnLoop = { _ in }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if inbound.readableBytes > 0 {
            // Else what has been read is kept until a read ends where a request does.
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
            endIdleSoon(context)
        } else if case .some(.inputClosed) = event as? ChannelEvent {
            isHungUp = true
            closeIfHungUp(context)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func read(context: ChannelHandlerContext) {
        if holdsReads {
            isReadHeld = true
        } else {
            context.read()
        }
    }

    /// Most clients send nothing before they have their answer, so reading goes on while one waits: to stop it and to
    /// start it again would take two system calls.
    private var holdsReads: Bool {
        if case .deciding = state, inbound.readableBytes > 0 { return true }
        return !isWritable
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        isWritable = context.channel.isWritable
        if isWritable, !isParsing, inbound.readableBytes > 0, state.isReading { goOnReading(context) }
        resumeReading(context)
        if isQuiescing { endIdleSoon(context) }
        context.fireChannelWritabilityChanged()
    }

    /// While the server drains, a client has a moment for one more request, once it has taken its answers.
    private func endIdleSoon(_ context: ChannelHandlerContext) {
        guard case .idle = state, isWritable, inbound.readableBytes == 0 else { return }
        timer.expiresAt = min(timer.expiresAt, context.eventLoop.now + Self.drainGrace)
        scheduleExpiryCheck(context)
    }

    private func resumeReading(_ context: ChannelHandlerContext) {
        guard isReadHeld else { return }
        isReadHeld = false
        read(context: context)
    }

    // MARK: Requests

    /// Reads and works through whatever has come, up to a request that has to wait or answers that the client does not
    /// take, and keeps the rest.
    private func readRequests(from bytes: consuming ByteBuffer, _ context: ChannelHandlerContext) {
        let now = context.eventLoop.now
        isParsing = true
        defer { isParsing = false }
        while bytes.readableBytes > 0 || reader.owesProceed, state.isReading {
            if outbound.readableBytes >= Self.maximumOutboundBytes {
                flush(context)
                guard isWritable else { break }
            }
            switch reader.next(in: &bytes) {
            case .incomplete: return keep(bytes, now: now, context)
            case .head(let request, let framing):
                begin(now)
                plan(request, framing, &bytes, context)
            case .proceed: outbound.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
            case .request(let request, let framing):
                if case .idle = state { startedAt = now }
                admit(request, framing, now: now, context)
            case .refusal(let refusal, let framing): refuse(refusal, framing, context)
            }
        }
        if case .lingering = state { return }
        if bytes.readableBytes > 0 { inbound = bytes }
    }

    private func goOnReading(_ context: ChannelHandlerContext) {
        readRequests(from: takeInbound(), context)
        closeIfHungUp(context)
        flush(context)
    }

    private func takeInbound() -> ByteBuffer {
        defer { inbound = ByteBuffer() }
        return inbound
    }

    /// The request at hand has not come whole: from its first byte on it may take so long.
    private func keep(_ bytes: consuming ByteBuffer, now: NIODeadline, _ context: ChannelHandlerContext) {
        // Room that holds nothing goes back to its allocator.
        if bytes.readableBytes > 0 { inbound = bytes }
        if reader.isBetweenRequests { return }
        begin(now)
        guard reader.isInBody else { return startedAt = now }
        guard bodyCharge.set(reader.keptBodyBytes + inbound.storageCapacity) else {
            return refuse(.tooManyBodies, reader.framing, context)
        }
    }

    /// The head has come before its body: what cannot be answered well is answered now, and a body that nothing needs
    /// is passed over.
    private func plan(
        _ request: Request, _ framing: ResponseFraming, _ bytes: inout ByteBuffer, _ context: ChannelHandlerContext
    ) {
        switch RequestChain.plan(forBodyOf: request, servesPages: settings.servesOperatorPages) {
        case .keep: break
        case .skip: reader.skipBody(in: &bytes)
        case .answer(let answer, let route):
            var framing = framing
            framing.keepsAlive = false
            reader.end()
            write(answer, route: route, framing: framing, context)
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
        switch RequestChain.admit(request, servesPages: settings.servesOperatorPages) {
        case .answer(let answer, let route): write(answer, route: route, framing: framing, context)
        case .page(let page): write(loop.page(page, now: now), route: page.route, framing: framing, context)
        case .decide(let request):
            let identity = request.identity
            let decision = limiter.decide(
                identity.bytes.readableBytesUInt8Span.extracting(identity.organization), cost: 1,
                now: loop.clock.now(), resume: resumeOnLoop)
            if let decision {
                write(RequestChain.answer(request, decision), to: request, framing: framing, context)
            } else {
                state = .deciding(request, framing)
                timer.expiresAt = now + Self.decisionTime
            }
        }
    }

    /// The store has answered: the request that waited goes on, and then what came after it.
    private func resume(_ decision: Decision) {
        guard let context, case .deciding(let request, let framing) = state else { return }
        if isHungUp, inbound.readableBytes == 0 { isQuiescing = true }
        write(RequestChain.answer(request, decision), to: request, framing: framing, context)
        goOnReading(context)
        resumeReading(context)
    }

    /// A client that sends no more still gets the answers to all that it has sent: while one of them waits, it is waited
    /// for.
    private func closeIfHungUp(_ context: ChannelHandlerContext) {
        guard isHungUp else { return }
        if case .deciding = state { return }
        // Whole requests may be kept while the client does not take the answers.
        if !isWritable, state.isReading, inbound.readableBytes > 0 { return }
        linger(context)
    }

    // MARK: Answers

    private func write(
        _ answer: borrowing Response, to request: borrowing RequestChain.Metered, framing: ResponseFraming,
        _ context: ChannelHandlerContext
    ) {
        var framing = framing
        if isQuiescing || loop.isDraining { framing.keepsAlive = false }
        loop.write(answer, to: request, framing: framing, to: &outbound) { finish(context) }
        goOn(framing, context)
    }

    private func write(
        _ answer: borrowing Response, route: Route, framing: ResponseFraming, _ context: ChannelHandlerContext
    ) {
        var framing = framing
        if isQuiescing || loop.isDraining { framing.keepsAlive = false }
        loop.write(answer, route: route, framing: framing, to: &outbound) { finish(context) }
        goOn(framing, context)
    }

    /// The answer is written: how long that took, in nanoseconds.
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

    /// Answers a request whose extent is in doubt or that is too large, and reads no further one.
    private func refuse(_ refusal: RequestError, _ framing: ResponseFraming, _ context: ChannelHandlerContext) {
        if case .idle = state { startedAt = context.eventLoop.now }
        var framing = framing
        framing.keepsAlive = false
        reader.end()
        inbound = ByteBuffer()
        var answer = Response.error(refusal.status, refusal.message)
        if refusal.status == .serviceUnavailable { answer.retryAfterSeconds = 1 }
        write(answer, route: .invalid, framing: framing, context)
    }

    /// Sends what is to be sent, then closes: first the sending side, so that a client that is still sending can read
    /// the answer before its connection breaks.
    ///
    /// Not before the client has taken the last byte: closing throws away what it has not. Until then the idle timeout
    /// holds. One that has hung up is waited for no longer.
    private func linger(_ context: ChannelHandlerContext) {
        if case .lingering = state {
            if isDrained { context.close(promise: nil) }
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

    /// The client has taken the last byte; from now on it has a second to hang up.
    private func finishLingering() {
        guard let context else { return }
        isDrained = true
        if isHungUp { return context.close(promise: nil) }
        context.close(mode: .output, promise: nil)
        timer.expiresAt = context.eventLoop.now + Self.lingerTime
        scheduleExpiryCheck(context)
    }

    private func flush(_ context: ChannelHandlerContext) {
        let bytes = outbound
        guard bytes.readableBytes > 0 else { return }
        // Writing may call back into here: what is written counts as gone before.
        outbound.moveReaderIndex(to: outbound.writerIndex)
        let isKept = bytes.capacity <= Self.keptOutboundBytes
        context.writeAndFlush(wrapOutboundOut(consume bytes), promise: nil)
        guard outbound.readableBytes == 0 else { return }
        // The room is used again, where the socket has taken all of it at once, as nearly always; not that of a flood.
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
        if timer.retires(now: now) { isQuiescing = true }
        if now >= timer.expiresAt { expire(context, now) }
        // Closing has taken the handler off the channel, or will.
        if self.context != nil, context.channel.isActive { scheduleExpiryCheck(context) }
    }

    private func expire(_ context: ChannelHandlerContext, _ now: NIODeadline) {
        switch state {
        case .idle:
            // Its client takes nothing: a last answer would wait for ever.
            guard isWritable, inbound.readableBytes == 0 else { return context.close(promise: nil) }
            // A request that has arrived is read within moments, and answered.
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
