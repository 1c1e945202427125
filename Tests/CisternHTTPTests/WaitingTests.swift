import Cistern
import CisternProcesses
import CisternTestSupport
import CisternTesting
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import CisternHTTP

@Suite("A request that waits for the store")
struct WaitingTests {
    private let clock = ManualClock(milliseconds: 1)
    private let store = ScriptedStore()

    private func connection(_ policy: FailurePolicy = .open) throws -> EmbeddedConnection {
        var settings = LimiterSettings()
        settings.failurePolicy = policy
        let limiter = RateLimiterEngine(limits: Limits(), store: store, lesseeID: "s", settings: settings, seed: 1)
        return try EmbeddedConnection(limiter: limiter, clock: clock)
    }

    private func grant(_ tokens: Int) -> Result<Grant, LeaseFailure> {
        .success(.plain(tokens, openUnits: 50_000_000))
    }

    @Test("a waiting request holds back later requests on its connection, and they follow in order")
    func keepsOrder() throws {
        let connection = try connection()
        try connection.send(
            HTTPRequestText.chat("a") + HTTPRequestText.plain("GET", "/health") + HTTPRequestText.chat("b"))
        #expect(try connection.replies().isEmpty)
        store.answer(grant(1), now: clock.now())
        #expect(try connection.replies().map { $0.json["orgId"] as? String } == ["a", nil])
        store.answer(grant(1), now: clock.now())
        #expect(try connection.replies().map { $0.json["orgId"] as? String } == ["b"])
    }

    @Test("later requests are answered after the client half-closes, and the last response closes the connection")
    func answersAllOfAHungUpClient() throws {
        let connection = try connection()
        try connection.send(
            HTTPRequestText.chat("a") + HTTPRequestText.chat("b") + HTTPRequestText.plain("GET", "/health")
                + HTTPRequestText.chat("c"))
        connection.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        var replies: [HTTPReply] = []
        for _ in 0..<2 {
            store.answer(grant(1), now: clock.now())
            replies += try connection.replies()
        }
        #expect(replies.map { $0.json["orgId"] as? String } == ["a", "b", nil])
        #expect(replies.map { $0["Connection"] } == [nil, nil, nil])
        #expect(!connection.isClosing)
        store.answer(grant(1), now: clock.now())
        let last = try connection.replies()
        #expect(last.map { $0.json["orgId"] as? String } == ["c"])
        #expect(last.first?["Connection"] == "close")
        #expect(connection.isClosing)
    }

    @Test("an incomplete request behind a waiting one is dropped once the client half-closes")
    func forgetsTheRestOfAHungUpClient() throws {
        let connection = try connection()
        try connection.send(HTTPRequestText.chat("a") + "POST /chat HT")
        connection.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        store.answer(grant(1), now: clock.now())
        #expect(try connection.replies().map { $0.json["orgId"] as? String } == ["a"])
        #expect(connection.isClosing)
    }

    @Test("reading stops at once if the read of a waiting request brought later requests, too")
    func holdsReadsAtOnce() throws {
        let connection = try connection()
        let reads = ReadCounter()
        try connection.channel.pipeline.syncOperations.addHandler(reads, position: .first)
        try connection.send(HTTPRequestText.chat("a") + HTTPRequestText.chat("b"))
        connection.channel.read()
        #expect(reads.count == 0)
        store.answer(grant(1), now: clock.now())
        #expect(try connection.replies().map { $0.json["orgId"] as? String } == ["a"])
        #expect(reads.count == 1)
        store.answer(grant(1), now: clock.now())
        #expect(try connection.replies().map { $0.json["orgId"] as? String } == ["b"])
    }

    @Test("one more read is allowed while a request waits, and no further ones")
    func pausesReading() throws {
        let connection = try connection()
        let reads = ReadCounter()
        try connection.channel.pipeline.syncOperations.addHandler(reads, position: .first)
        try connection.send(HTTPRequestText.chat("a"))
        connection.channel.read()
        #expect(reads.count == 1)
        try connection.send(HTTPRequestText.chat("b"))
        connection.channel.read()
        #expect(reads.count == 1)
        #expect(try connection.replies().isEmpty)
        store.answer(grant(1), now: clock.now())
        #expect(try connection.replies().map { $0.json["orgId"] as? String } == ["a"])
        #expect(reads.count == 2, "no request is queued behind the second, so reading resumes")
        store.answer(grant(1), now: clock.now())
        #expect(try connection.replies().map { $0.json["orgId"] as? String } == ["b"])
    }

    @Test("a waiting request passes with the whole limit remaining when the store fails and the policy is open")
    func failsOpen() throws {
        let connection = try connection()
        try connection.send(HTTPRequestText.chat("a"))
        store.answer(.failure(.timedOut), now: clock.now())
        let reply = try #require(try connection.replies().first)
        #expect(reply.status == 200)
        #expect(reply["X-RateLimit-Remaining"] == "100")
    }

    @Test("a waiting request is answered 503 with Retry-After when the store fails and the policy is closed")
    func failsClosed() throws {
        let connection = try connection(.closed)
        try connection.send(HTTPRequestText.chat("a"))
        store.answer(.failure(.timedOut), now: clock.now())
        let reply = try #require(try connection.replies().first)
        #expect(reply.status == 503)
        #expect(reply["Retry-After"] == "1")
        #expect(reply.json["error"] as? String == "Service Unavailable")
    }

    @Test("a waiting request is dropped when its client disconnects, and the store's reply is ignored")
    func hangsUp() throws {
        let connection = try connection()
        try connection.send(HTTPRequestText.chat("a"))
        _ = try connection.channel.finish()
        store.answer(grant(1), now: clock.now())
        connection.channel.embeddedEventLoop.run()
        #expect(connection.statistics.mutex.withLock { $0.requests.requests.isEmpty })
    }

    @Test("a waiting request is answered before the error for malformed bytes behind it")
    func errorsWaitTheirTurn() throws {
        let connection = try connection()
        try connection.send(HTTPRequestText.chat("a") + "nonsense\r\n\r\n")
        #expect(try connection.replies().isEmpty)
        store.answer(grant(1), now: clock.now())
        #expect(try connection.replies().map(\.status) == [200, 400])
        #expect(connection.isClosing)
    }
}

/// Counts the reads that would reach the socket.
private final class ReadCounter: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer

    private(set) var count = 0

    func read(context: ChannelHandlerContext) {
        count += 1
        context.read()
    }
}
