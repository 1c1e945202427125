import Cistern
import CisternProcesses
import CisternTestSupport
import CisternTesting
import NIOCore
import NIOEmbedded

@testable import CisternHTTP

/// One connection to the data plane, without a socket, on a manual clock.
final class EmbeddedConnection {
    /// 2024-02-04 10:30:00 UTC: the wall-clock time when the manual clock reads 0.
    static let epochMilliseconds: Int64 = 1_707_042_600_000

    let clock: ManualClock
    let channel: EmbeddedChannel
    let statistics = LoopContext.Statistics()
    let loop: LoopContext
    static let pages = HealthAndMetricsPages(
        health: { .init(text: #"{"status":"ok"}"#, contentType: "application/json") },
        metrics: { .init(text: "cistern_up 1\n", contentType: "text/plain; version=0.0.4") })
    private var received: [UInt8] = []

    init(
        limiter: RateLimiterEngine = RateLimiterEngine(limits: Limits(), seed: 1), decider: (any Decider)? = nil,
        clock: ManualClock = ManualClock(),
        settings: HTTPSettings = HTTPSettings(), pages: HealthAndMetricsPages = EmbeddedConnection.pages
    ) throws {
        self.clock = clock
        channel = EmbeddedChannel()
        let loop = LoopContext(
            clock: clock, unixMilliseconds: { Self.epochMilliseconds + clock.now().milliseconds },
            statistics: statistics, pages: pages,
            bodyBudget: BodyBudget(maximumBytes: settings.maximumBufferedBodyBytes))
        self.loop = loop
        try HTTPServer.addHandlers(to: channel, limiter: decider ?? limiter, settings: settings, loop: loop)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    }

    deinit {
        _ = try? channel.finish(acceptAlreadyClosed: true)
    }

    /// Delivers bytes as if the client had sent them.
    func send(_ text: String) throws {
        try send(Array(text.utf8))
    }

    func send(_ bytes: [UInt8]) throws {
        try channel.writeInbound(ByteBuffer(bytes: bytes))
    }

    /// Returns all responses since the last call.
    func replies(isHead: Bool = false) throws -> [HTTPReply] {
        channel.embeddedEventLoop.run()
        while let buffer = try channel.readOutbound(as: ByteBuffer.self) { received += buffer.readableBytesView }
        var replies: [HTTPReply] = []
        while let reply = HTTPReply.next(in: &received, isHead: isHead) { replies.append(reply) }
        return replies
    }

    /// Sends a request and returns its only response.
    func exchange(_ text: String, isHead: Bool = false) throws -> HTTPReply {
        try send(text)
        let replies = try replies(isHead: isHead)
        guard replies.count == 1 else { throw Socket.Failure(description: "\(replies.count) responses: \(replies)") }
        return replies[0]
    }

    /// Whether the server has closed its sending side.
    ///
    /// An embedded channel cannot be half-closed, so the server closes all of it.
    var isClosing: Bool {
        channel.embeddedEventLoop.run()
        return !channel.isActive
    }
}
