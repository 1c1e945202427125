// The example of the article OtherFrameworks for swift-nio.
import Cistern
import NIOCore
import NIOHTTP1
import NIOPosix

/// Passes on the requests that the limiter allows, and responds to all others.
final class RateLimitHandler: ChannelInboundHandler, ChannelOutboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        /// The next part begins a request.
        case idle
        /// The limiter has not decided yet.
        case deciding
        /// The limiter has allowed the request: its parts are passed on.
        case passing
        /// The request has its response: its remaining parts are dropped.
        case answered
    }

    private let limiter: RateLimiter
    private var state = State.idle
    /// The parts that have arrived and are neither passed on nor dropped, in order.
    private var parts = CircularBuffer<HTTPServerRequestPart>()
    private var isProcessing = false
    private var wantsToRead = false

    init(limiter: RateLimiter) {
        self.limiter = limiter
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        parts.append(unwrapInboundIn(data))
        process(context)
    }

    /// Reads nothing more from the client while the limiter decides.
    func read(context: ChannelHandlerContext) {
        if state == .deciding { wantsToRead = true } else { context.read() }
    }

    private func process(_ context: ChannelHandlerContext) {
        // A response may bring the next request in, within `fireChannelRead`: its parts must wait in the buffer.
        guard !isProcessing else { return }
        isProcessing = true
        defer { isProcessing = false }
        while let part = parts.first {
            if state == .idle, case .head(let head) = part {
                state = .deciding
                ask(head.headers.first(name: "x-org-id") ?? "", context)
            }
            guard state != .deciding else { return }
            parts.removeFirst()
            let isPassing = state == .passing
            if case .end = part { state = .idle }
            if isPassing { context.fireChannelRead(wrapInboundOut(part)) }
        }
    }

    private func ask(_ key: String, _ context: ChannelHandlerContext) {
        let eventLoop = context.eventLoop
        let handler = NIOLoopBound(self, eventLoop: eventLoop)
        let boundContext = context.loopBound
        do {
            let decision = try limiter.acquire(key.utf8.span) { result in
                // This closure runs on any thread.
                eventLoop.execute { handler.value.resume(with: result, boundContext.value) }
            }
            if let decision { apply(.success(decision), context) }
        } catch {
            apply(.failure(error), context)
        }
    }

    private func resume(with result: Result<Decision, AcquireError>, _ context: ChannelHandlerContext) {
        apply(result, context)
        process(context)
        context.fireChannelReadComplete()
        guard wantsToRead else { return }
        wantsToRead = false
        context.read()
    }

    private func apply(_ result: Result<Decision, AcquireError>, _ context: ChannelHandlerContext) {
        switch result {
        case .success(let decision) where decision.isAllowed: state = .passing
        case .success(let decision):
            let status = decision.outcome == .denied ? HTTPResponseStatus.tooManyRequests : .serviceUnavailable
            respond(status, retryAfter: decision.retryAfter, context)
        case .failure(let error):
            respond(HTTPResponseStatus(statusCode: statusCode(of: error)), retryAfter: nil, context)
        }
    }

    private func respond(_ status: HTTPResponseStatus, retryAfter: Duration?, _ context: ChannelHandlerContext) {
        state = .answered
        var headers = HTTPHeaders([("Content-Length", "0")])
        if let retryAfter { headers.add(name: "Retry-After", value: "\(wholeSeconds(in: retryAfter))") }
        let head = HTTPResponseHead(version: .http1_1, status: status, headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }
}

/// Serves HTTP; `makeApplication` creates the handler that responds to allowed requests.
func serveLimited(
    port: Int, by limiter: RateLimiter, makeApplication: @escaping @Sendable () -> any ChannelHandler
) async throws {
    try await limiter.withRunning {
        let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.configureHTTPServerPipeline()
                    try pipeline.addHandler(RateLimitHandler(limiter: limiter))
                    try pipeline.addHandler(makeApplication())
                }
            }
        let server = try await bootstrap.bind(host: "127.0.0.1", port: port).get()
        try await server.closeFuture.get()
    }
}
