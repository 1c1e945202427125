// The example of the article OtherFrameworks for swift-nio.
import Cistern
import NIOCore
import NIOHTTP1
import NIOPosix

/// Passes on the requests that the limiter allows, and responds to all others.
final class RateLimitHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        /// The limiter has allowed the request: its parts are passed on.
        case passing
        /// The limiter has not decided yet; holds the parts that have arrived.
        case deciding([HTTPServerRequestPart])
        /// The request has its response: its remaining parts are dropped.
        case answered
    }

    private let limiter: RateLimiter
    private var state = State.passing

    init(limiter: RateLimiter) {
        self.limiter = limiter
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        if case .head(let head) = part {
            state = .deciding([part])
            return ask(head.headers.first(name: "x-org-id") ?? "", context: context)
        }
        switch state {
        case .passing: context.fireChannelRead(data)
        case .deciding(let parts): state = .deciding(parts + [part])
        case .answered: break
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        state = .answered
    }

    private func ask(_ key: String, context: ChannelHandlerContext) {
        let eventLoop = context.eventLoop
        let handler = NIOLoopBound(self, eventLoop: eventLoop)
        let boundContext = context.loopBound
        do {
            let decision = try limiter.acquire(key.utf8.span) { result in
                // This closure runs on any thread.
                eventLoop.execute { handler.value.proceed(with: result, context: boundContext.value) }
            }
            if let decision { proceed(with: .success(decision), context: context) }
        } catch {
            proceed(with: .failure(error), context: context)
        }
    }

    private func proceed(with result: Result<Decision, AcquireError>, context: ChannelHandlerContext) {
        guard case .deciding(let parts) = state else { return }
        switch result {
        case .success(let decision) where decision.isAllowed:
            state = .passing
            for part in parts { context.fireChannelRead(wrapInboundOut(part)) }
            context.fireChannelReadComplete()
        case .success(let decision):
            let status = decision.outcome == .denied ? HTTPResponseStatus.tooManyRequests : .serviceUnavailable
            respond(status, retryAfter: decision.retryAfter, context: context)
        case .failure(let error):
            respond(HTTPResponseStatus(statusCode: statusCode(of: error)), retryAfter: nil, context: context)
        }
    }

    private func respond(_ status: HTTPResponseStatus, retryAfter: Duration?, context: ChannelHandlerContext) {
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
