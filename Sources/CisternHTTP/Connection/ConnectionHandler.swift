internal import Cistern
internal import DequeModule
internal import NIOCore
internal import NIOExtras
internal import NIOHTTP1

/// One client's connection: reads requests one after the other, has each decided, and writes the answers in order.
///
/// While a request waits for the store, what follows it is kept back and nothing more is read, so that a connection
/// holds no more than one read's worth of pipelined requests. Nothing is read either while the client does not take
/// the answers. It lives on its channel's event loop.
final class ConnectionHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    /// Where the connection stands.
    enum State {
        /// Between two requests.
        case idle
        /// A head has come; its body is being collected.
        case receiving(RequestHead)
        /// The request waits for its decision.
        case deciding(RequestChain.Metered, AnswerFraming)
        /// The last answer is out; whatever still comes is thrown away until the client hangs up.
        case lingering
    }

    /// What has come in and waits for its turn.
    enum Event {
        case part(HTTPServerRequestPart)
        case failure(RequestHead.Refusal)
    }

    private static let keptOutboundBytes = 1 << 14
    private static let lingerTime = TimeAmount.seconds(1)

    private let limiter: any Decider
    private let pages: OperatorPages
    private let settings: HTTPSettings
    private let loop: LoopContext
    private var context: ChannelHandlerContext?
    /// Takes a decision from any thread; made once, since most requests never call it.
    private var resumeOnLoop: @Sendable (Decision) -> Void = { _ in }

    private var state = State.idle
    private var backlog: Deque<Event> = []
    /// The body of the request at hand, as far as it has come.
    private var body = ByteBuffer()
    private var outbound = ByteBuffer()
    private var isReadHeld = false
    /// Set when the server drains: the next answer is the last.
    private var isQuiescing = false
    /// When the head of the request at hand came.
    private var startedAt = NIODeadline.distantPast
    /// When the connection is given up, if nothing happens before.
    private var expiresAt = NIODeadline.distantFuture
    private var expiryCheck: Scheduled<Void>?

    init(limiter: any Decider, pages: OperatorPages, settings: HTTPSettings, loop: LoopContext) {
        self.limiter = limiter
        self.pages = pages
        self.settings = settings
        self.loop = loop
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let eventLoop = context.eventLoop
        let handler = NIOLoopBound(self, eventLoop: eventLoop)
        resumeOnLoop = { decision in eventLoop.execute { handler.value.resume(decision) } }
        outbound = context.channel.allocator.buffer(capacity: 1024)
        expiresAt = context.eventLoop.now + .milliseconds(settings.idleTimeoutMilliseconds)
        scheduleExpiryCheck(context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        expiryCheck?.cancel()
        self.context = nil
        // It holds this handler, and this handler it.
        resumeOnLoop = { _ in }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        take(.part(unwrapInboundIn(data)), context)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        flush(context)
        context.fireChannelReadComplete()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? HTTPParserError else {
            // The socket failed, or bytes came after an error that has been answered.
            if !(error is ByteToMessageDecoderError) { context.close(promise: nil) }
            return
        }
        take(.failure(Self.refusal(for: error)), context)
        flush(context)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent {
            isQuiescing = true
            if case .idle = state { linger(context) }
        } else if case .some(.inputClosed) = event as? ChannelEvent {
            // The client will send no more. One that waits for its answer still gets it.
            isQuiescing = true
            if case .deciding = state {} else { linger(context) }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func read(context: ChannelHandlerContext) {
        if case .deciding = state {
            isReadHeld = true
        } else if context.channel.isWritable {
            context.read()
        } else {
            isReadHeld = true
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        resumeReading(context)
        context.fireChannelWritabilityChanged()
    }

    private func resumeReading(_ context: ChannelHandlerContext) {
        guard isReadHeld else { return }
        isReadHeld = false
        read(context: context)
    }

    // MARK: Requests

    private func take(_ event: Event, _ context: ChannelHandlerContext) {
        if case .deciding = state {
            backlog.append(event)
        } else {
            handle(event, context)
        }
    }

    private func handle(_ event: Event, _ context: ChannelHandlerContext) {
        switch (event, state) {
        case (_, .lingering), (_, .deciding): break
        case (.failure(let refusal), _): refuse(refusal, context)
        case (.part(.head(let head)), _): begin(head, context)
        case (.part(.body(let bytes)), .receiving):
            body.writeImmutableBuffer(bytes)
            if body.readableBytes > settings.maximumBodyBytes { refuse(bodyTooLarge, context) }
        case (.part(.end), .receiving(var head)):
            swap(&head.request.body, &body)
            admit(head, context)
        case (.part(.body), .idle), (.part(.end), .idle): break
        }
    }

    private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        startedAt = context.eventLoop.now
        expiresAt = startedAt + .milliseconds(settings.requestTimeoutMilliseconds)
        do throws(RequestHead.Refusal) {
            let head = try RequestHead(head)
            if let length = head.contentLength, length > settings.maximumBodyBytes { throw bodyTooLarge }
            state = .receiving(head)
            if head.expectsContinue {
                outbound.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
            }
        } catch {
            refuse(error, context)
        }
    }

    private func admit(_ head: RequestHead, _ context: ChannelHandlerContext) {
        switch RequestChain.admit(head.request, pages: pages) {
        case .answer(let answer, let route):
            write(answer, route: route, framing: head.framing, context)
        case .decide(let request):
            let now = loop.clock.now()
            let decision = limiter.decide(
                request.identity.organization.utf8.span, cost: 1, now: now, resume: resumeOnLoop)
            if let decision {
                let answer = RequestChain.answer(request, decision)
                write(answer, route: request.route, of: request, framing: head.framing, context)
            } else {
                state = .deciding(request, head.framing)
            }
        }
    }

    /// The store has answered: the request that waited goes on, and then what came after it.
    private func resume(_ decision: Decision) {
        guard let context, case .deciding(let request, let framing) = state else { return }
        write(RequestChain.answer(request, decision), route: request.route, of: request, framing: framing, context)
        while let event = nextFromBacklog() { handle(event, context) }
        flush(context)
        resumeReading(context)
    }

    private func nextFromBacklog() -> Event? {
        if case .deciding = state { return nil }
        return backlog.popFirst()
    }

    // MARK: Answers

    private func write(
        _ answer: Answer, route: Route, of request: RequestChain.Metered? = nil, framing: AnswerFraming,
        _ context: ChannelHandlerContext
    ) {
        var framing = framing
        if isQuiescing { framing.keepsAlive = false }
        let calendar = loop.calendar(at: answer.decision?.decidedAt ?? loop.clock.now())
        let id = loop.nextID()
        AnswerWriter(id: id, calendar: calendar, framing: framing)
            .write(answer, to: &outbound, scratch: &loop.scratch)
        let end = context.eventLoop.now
        loop.count(answer, route: route, of: request, id: id, nanoseconds: (end - startedAt).nanoseconds)
        expiresAt = end + .milliseconds(settings.idleTimeoutMilliseconds)
        if framing.keepsAlive {
            state = .idle
        } else {
            linger(context)
        }
    }

    /// Answers a request whose extent is in doubt or that is too large, and reads no further one.
    private func refuse(_ refusal: RequestHead.Refusal, _ context: ChannelHandlerContext) {
        if case .idle = state { startedAt = context.eventLoop.now }
        var framing = AnswerFraming()
        if case .receiving(let head) = state { framing = head.framing }
        framing.keepsAlive = false
        write(.error(refusal.status, refusal.message), route: .invalid, framing: framing, context)
    }

    /// Sends what is to be sent, then closes: first the sending side, so that a client that is still sending can read
    /// the answer before its connection breaks.
    private func linger(_ context: ChannelHandlerContext) {
        if case .lingering = state { return context.close(promise: nil) }
        state = .lingering
        backlog.removeAll()
        flush(context)
        // Until the last byte has been taken the idle timeout holds; from then on the client has a second to hang up.
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.close(mode: .output).whenComplete { _ in handler.value.startLingerTimer() }
    }

    private func startLingerTimer() {
        guard let context else { return }
        expiresAt = context.eventLoop.now + Self.lingerTime
        scheduleExpiryCheck(context)
    }

    private func flush(_ context: ChannelHandlerContext) {
        guard outbound.readableBytes > 0 else { return }
        context.writeAndFlush(wrapOutboundOut(outbound), promise: nil)
        // Where the socket has taken all of it at once, as nearly always, the room is used again; not that of a flood.
        if outbound.capacity <= Self.keptOutboundBytes {
            outbound.clear()
        } else {
            outbound = context.channel.allocator.buffer(capacity: 1024)
        }
    }

    private var bodyTooLarge: RequestHead.Refusal {
        RequestHead.Refusal(
            status: .contentTooLarge, message: "the body is over \(settings.maximumBodyBytes) bytes: send less")
    }

    private static func refusal(for error: HTTPParserError) -> RequestHead.Refusal {
        switch error {
        case .headerOverflow:
            RequestHead.Refusal(status: .headerFieldsTooLarge, message: "the header fields are too large: send fewer")
        case .invalidVersion:
            RequestHead.Refusal(
                status: .versionNotSupported, message: "this server speaks HTTP/1.1 and HTTP/1.0")
        default:
            RequestHead.Refusal(status: .badRequest, message: "the request is not well-formed HTTP/1.1: \(error)")
        }
    }

    // MARK: Time

    /// Looks at the connection when it might expire, and in any case before a request that begins now could: so the
    /// expiry may be set to anything at the cost of an assignment.
    private func scheduleExpiryCheck(_ context: ChannelHandlerContext) {
        expiryCheck?.cancel()
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        let latest = context.eventLoop.now + .milliseconds(settings.requestTimeoutMilliseconds)
        expiryCheck = context.eventLoop.scheduleTask(deadline: min(expiresAt, latest)) {
            handler.value.checkExpiry()
        }
    }

    private func checkExpiry() {
        guard let context else { return }
        guard context.eventLoop.now >= expiresAt else { return scheduleExpiryCheck(context) }
        switch state {
        case .idle, .lingering: context.close(promise: nil)
        case .receiving:
            refuse(
                RequestHead.Refusal(
                    status: .requestTimeout,
                    message: "the request took over \(settings.requestTimeoutMilliseconds) ms to arrive"),
                context)
        case .deciding:
            // The store's deadline ends this, not ours.
            expiresAt = context.eventLoop.now + .milliseconds(settings.requestTimeoutMilliseconds)
            scheduleExpiryCheck(context)
        }
    }
}
