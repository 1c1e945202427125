import CisternProcesses
import CisternTesting
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import CisternHTTP

/// A few bytes from a client cause only a bounded amount of memory and work.
@Suite("Bounds on the memory and work that a client can cause")
struct AmplificationTests {
    private static let scrape = "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n"

    /// Renders pages of 12 KB and counts how often.
    private final class Pages: Sendable {
        let made = Atomic(0)

        var pages: HealthAndMetricsPages {
            let page: @Sendable () -> HealthAndMetricsPages.Page = {
                self.made.add(1, ordering: .relaxed)
                return HealthAndMetricsPages.Page(
                    text: String(repeating: "x", count: 12_000), contentType: "text/plain")
            }
            return HealthAndMetricsPages(health: page, metrics: page)
        }
    }

    @Test("unread responses are bounded, and the remaining requests of the client wait in order")
    func unreadAnswers() throws {
        let pages = Pages()
        let connection = try EmbeddedConnection(pages: pages.pages)
        let client = try StalledClient(of: connection)
        try connection.send(String(repeating: Self.scrape, count: 1500) + HTTPRequestText.chat("last"))
        #expect(client.keptBytes <= (1 << 16) + 13_000)
        #expect(client.keptBytes >= 1 << 16)
        try client.goOn(on: connection)
        let replies = try connection.replies()
        #expect(replies.count == 1501)
        #expect(replies.last?.json["orgId"] as? String == "last")
        #expect(pages.made.load(ordering: .relaxed) <= 2)
    }

    @Test("a client that half-closes before it reads still gets every response")
    func unreadAnswersOfAHungUpClient() throws {
        let connection = try EmbeddedConnection(pages: Pages().pages)
        let client = try StalledClient(of: connection)
        try connection.send(String(repeating: Self.scrape, count: 100))
        connection.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        try client.goOn(on: connection)
        #expect(try connection.replies().count == 100)
        #expect(connection.isClosing)
    }

    @Test("a page is rendered at most ten times a second, and again once the server drains")
    func pagesAreKept() throws {
        let pages = Pages()
        let connection = try EmbeddedConnection(pages: pages.pages)
        for _ in 0..<50 { #expect(try connection.exchange(Self.scrape).status == 200) }
        #expect(pages.made.load(ordering: .relaxed) == 1)
        connection.channel.embeddedEventLoop.advanceTime(by: .milliseconds(100))
        _ = try connection.exchange(Self.scrape)
        #expect(pages.made.load(ordering: .relaxed) == 2)
        connection.loop.beginDraining()
        _ = try connection.exchange(Self.scrape)
        #expect(pages.made.load(ordering: .relaxed) == 3)
    }

    @Test(
        "a request without an identity is rejected after its head, without waiting for its body",
        arguments: [true, false])
    func anonymousBodies(isChunked: Bool) throws {
        let connection = try EmbeddedConnection()
        let framing = isChunked ? "Transfer-Encoding: chunked" : "Content-Length: 1048576"
        let reply = try connection.exchange(
            "POST /chat HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n\(framing)\r\n\r\n")
        #expect(reply.status == 401)
        #expect(reply["Connection"] == "close")
        #expect(reply["WWW-Authenticate"] != nil)
    }

    @Test(
        "a body that no route reads is discarded, and the bytes after it are the next request",
        arguments: ["POST /chat", "PUT /elsewhere", "GET /chat", "OPTIONS /chat", "GET /metrics"], [true, false])
    func unneededBodies(start: String, isChunked: Bool) throws {
        let connection = try EmbeddedConnection()
        let handler = try connection.channel.pipeline.syncOperations.handler(type: ConnectionHandler.self)
        let framing = isChunked ? "Transfer-Encoding: chunked" : "Content-Length: 1000000"
        let type = start == "POST /chat" ? "text/plain" : "application/json"
        try connection.send(
            "\(start) HTTP/1.1\r\nHost: h\r\nx-org-id: o\r\nx-user-id: u\r\nContent-Type: \(type)\r\n\(framing)\r\n\r\n"
        )
        let piece = String(repeating: "x", count: 10_000)
        for _ in 0..<100 { try connection.send(isChunked ? "2710\r\n\(piece)\r\n" : piece) }
        #expect(handler.inbound.storageCapacity <= 16_384)
        #expect(connection.loop.bodyBudget.bytes <= 16_384)
        if isChunked { try connection.send("0\r\n\r\n") }
        try connection.send(HTTPRequestText.chat("next"))
        let replies = try connection.replies()
        #expect(replies.count == 2)
        #expect(replies.last?.json["orgId"] as? String == "next")
        #expect(connection.loop.bodyBudget.bytes == 0)
    }

    @Test("incomplete bodies share one bound over all connections, and a body beyond it gets 503 with Retry-After")
    func budget() throws {
        var settings = HTTPSettings()
        settings.maximumBufferedBodyBytes = 300_000
        let connection = try EmbeddedConnection(settings: settings)
        let head = "POST /chat HTTP/1.1\r\nHost: h\r\nx-org-id: o\r\nx-user-id: u\r\nContent-Type: application/json\r\n"
        try connection.send(head + "Content-Length: 1000000\r\n\r\n")
        for _ in 0..<100 where connection.channel.isActive { try connection.send(String(repeating: " ", count: 5000)) }
        let reply = try #require(try connection.replies().first)
        #expect(reply.status == 503)
        #expect(reply["Retry-After"] == "1")
        #expect(connection.isClosing)
        #expect(connection.loop.bodyBudget.bytes == 0)
        let small = try EmbeddedConnection(settings: settings)
        try small.send(head + "Content-Length: 2\r\n\r\n{")
        #expect(small.loop.bodyBudget.bytes > 0)
        #expect(try small.exchange("}").status == 200)
        #expect(small.loop.bodyBudget.bytes == 0)
    }
}
