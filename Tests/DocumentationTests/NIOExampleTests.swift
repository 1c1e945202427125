import Cistern
import CisternTestSupport
import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

@Suite("The example for swift-nio")
struct NIOExampleTests {
    /// Responds to each request when its head arrives, as an application may.
    private final class EarlyApplication: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart
        var parts: [String] = []

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head):
                parts.append("head \(head.uri)")
                let response = HTTPResponseHead(version: .http1_1, status: .ok, headers: ["Content-Length": "0"])
                context.write(wrapOutboundOut(.head(response)), promise: nil)
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            case .body: parts.append("body")
            case .end: parts.append("end")
            }
        }
    }

    @Test("pipelined requests stay in order, and a denied one is answered without reaching the application")
    func pipelined() throws {
        let limiter = try RateLimiter(limit: .perSecond(1, capacity: 2), clock: ManualClock())
        let channel = EmbeddedChannel()
        let application = EarlyApplication()
        let pipeline = channel.pipeline.syncOperations
        try pipeline.configureHTTPServerPipeline()
        try pipeline.addHandler(RateLimitHandler(limiter: limiter))
        try pipeline.addHandler(application)
        let requests = ["/a", "/b", "/c"].map { path in
            "POST \(path) HTTP/1.1\r\nHost: x\r\nx-org-id: acme\r\nContent-Length: 2\r\n\r\nhi"
        }
        try channel.writeInbound(ByteBuffer(string: requests.joined()))
        var answer = ""
        while let bytes = try channel.readOutbound(as: ByteBuffer.self) { answer += String(buffer: bytes) }
        #expect(application.parts == ["head /a", "body", "end", "head /b", "body", "end"])
        let statuses = answer.split(separator: "\r\n").filter { $0.hasPrefix("HTTP/1.1 ") }
        #expect(statuses == ["HTTP/1.1 200 OK", "HTTP/1.1 200 OK", "HTTP/1.1 429 Too Many Requests"])
        #expect(answer.contains("Retry-After: 1"))
        _ = try channel.finish(acceptAlreadyClosed: true)
    }
}
