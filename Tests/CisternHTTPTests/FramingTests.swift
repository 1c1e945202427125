import Cistern
import CisternProcesses
import CisternTesting
import NIOCore
import NIOEmbedded
import Testing

@testable import CisternHTTP

@Suite("Framing of HTTP/1.1")
struct FramingTests {
    private let connection: EmbeddedConnection

    init() throws {
        connection = try EmbeddedConnection()
    }

    @Test("pipelined requests are answered in order, however their bytes are split")
    func pipelining() throws {
        let text =
            HTTPRequestText.chat("a", body: #"{"message":1}"#) + HTTPRequestText.plain("GET", "/health")
            + HTTPRequestText.chat("b", body: #"{"message":2}"#)
        for byte in Array(text.utf8) { try connection.send([byte]) }
        let replies = try connection.replies()
        #expect(replies.map(\.status) == [200, 200, 200])
        #expect(replies.map { $0.json["orgId"] as? String } == ["a", nil, "b"])
    }

    @Test("the responses to a batch of pipelined requests leave in one write")
    func oneWrite() throws {
        try connection.send(String(repeating: HTTPRequestText.chat("a"), count: 10))
        let first = try #require(try connection.channel.readOutbound(as: ByteBuffer.self))
        #expect(try connection.channel.readOutbound(as: ByteBuffer.self) == nil)
        var bytes = Array(first.readableBytesView)
        var count = 0
        while HTTPReply.next(in: &bytes) != nil { count += 1 }
        #expect(count == 10)
    }

    @Test("the chunks of a body are joined")
    func chunked() throws {
        let reply = try connection.exchange(
            "POST /chat HTTP/1.1\r\nHost: h\r\nx-org-id: o\r\nx-user-id: u\r\nContent-Type: application/json\r\n"
                + "Transfer-Encoding: chunked\r\n\r\n7\r\n{\"messa\r\nA;x=y\r\nge\":\"hi\"} \r\n0\r\nTrailer: t\r\n\r\n"
        )
        #expect(reply.json["message"] as? String == "hi")
    }

    @Test("HTTP/1.1 keeps the connection open unless asked to close it, and HTTP/1.0 only if asked to keep it")
    func persistence() throws {
        #expect(try connection.exchange(HTTPRequestText.chat("a"))["Connection"] == nil)
        #expect(!connection.isClosing)
        let old = try connection.exchange("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        #expect(old["Connection"] == "keep-alive")
        #expect(!connection.isClosing)
        #expect(try connection.exchange(HTTPRequestText.chat("a", close: true))["Connection"] == "close")
        #expect(connection.isClosing)
        let other = try EmbeddedConnection()
        #expect(try other.exchange("GET /health HTTP/1.0\r\n\r\n")["Connection"] == "close")
        #expect(other.isClosing)
    }

    @Test(
        "an Upgrade header is ignored, and CONNECT closes the connection",
        arguments: ["Connection: Upgrade\r\nUpgrade: websocket", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c"])
    func upgrades(fields: String) throws {
        for _ in 0..<2 {
            let reply = try connection.exchange("GET /health HTTP/1.1\r\nHost: h\r\n\(fields)\r\n\r\n")
            #expect(reply.status == 200)
            #expect(reply["Connection"] == nil)
        }
        #expect(!connection.isClosing)
        let tunnel = try EmbeddedConnection()
        let request = HTTPRequestText.plain("CONNECT", "h:80", ["x-org-id: o", "x-user-id: u"])
        #expect(try tunnel.exchange(request)["Connection"] == "close")
        #expect(tunnel.isClosing)
    }

    @Test("a request after one that closes the connection gets no response")
    func nothingAfterClose() throws {
        try connection.send(HTTPRequestText.chat("a", close: true) + HTTPRequestText.chat("a"))
        #expect(try connection.replies().count == 1)
    }

    @Test(
        "an ambiguous request is rejected, and the connection is closed",
        arguments: [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            "Content-Length: 5, 5\r\n\r\nhello",
            "Content-Length: +5\r\n\r\nhello",
            "Content-Length: -5\r\n\r\nhello",
            "Content-Length: 0x5\r\n\r\nhello",
            "Content-Length:\r\n\r\n",
            "Content-Length: 99999999999999999999\r\n\r\n",
            "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: identity\r\n\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
            "x-org-id : o\r\n\r\n",
            " x-org-id: o\r\n\r\n",
            "x\u{1}y: o\r\n\r\n",
            "x-org-id: a\u{0}b\r\n\r\n",
            "no colon here\r\n\r\n",
            "Host: other\r\n\r\n",
        ])
    func ambiguity(rest: String) throws {
        let head = "POST /chat HTTP/1.1\r\nHost: h\r\nx-user-id: u\r\n"
        let hasName = rest.contains("x-org-id")
        let reply = try connection.exchange(head + (hasName ? "" : "x-org-id: o\r\n") + rest)
        #expect(reply.status == 400)
        #expect(reply["Connection"] == "close")
        #expect(reply["X-Request-ID"] != nil)
        #expect(reply.json["error"] as? String == "Bad Request")
        #expect(connection.isClosing)
    }

    @Test(
        "an invalid or unsupported request is rejected",
        arguments: [
            ("POST /chat HTTP/1.1\r\n\r\n", 400), ("\u{16}\u{3}\u{1}hello\r\n\r\n", 400),
            ("GET /health HTTP/2.0\r\nHost: h\r\n\r\n", 505),
            ("get /health HTTP/1.1\r\nHost: h\r\n\r\n", 501), ("FETCH / HTTP/1.1\r\nHost: h\r\n\r\n", 501),
            ("GET /health\r\n\r\n", 505),
            ("GET /health HTTP/1.1\r\nHost: h\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n", 417),
        ])
    func notHTTP(text: String, status: Int) throws {
        let reply = try connection.exchange(text)
        #expect(reply.status == status, "\(reply)")
        #expect(connection.isClosing)
    }

    @Test("header lines beyond the bound get 431", arguments: ["x-a", "x-org-id"])
    func largeHeaders(name: String) throws {
        let value = String(repeating: "x", count: 100 << 10)
        let reply = try connection.exchange(HTTPRequestText.plain("GET", "/health", ["\(name): \(value)"]))
        #expect(reply.status == 431)
        #expect(connection.isClosing)
    }

    @Test("many small header lines get 431, and a long target gets 414")
    func manyHeaders() throws {
        let fields = (0..<5000).map { "x-\($0): y" }
        #expect(try connection.exchange(HTTPRequestText.plain("GET", "/health", fields)).status == 431)
        let long = try EmbeddedConnection()
        let reply = try long.exchange(HTTPRequestText.plain("GET", "/" + String(repeating: "x", count: 100 << 10)))
        #expect(reply.status == 414)
    }

    @Test("a body over the bound gets 413, at once if its length is announced")
    func largeBodies() throws {
        let announced = try connection.exchange(
            HTTPRequestText.plain("POST", "/chat", ["x-org-id: org-1", "x-user-id: u", "Content-Length: 2097152"]))
        #expect(announced.status == 413)
        #expect(announced["Connection"] == "close")
        let grown = try EmbeddedConnection()
        try grown.send(
            HTTPRequestText.plain("POST", "/chat", ["x-org-id: o", "x-user-id: u", "Transfer-Encoding: chunked"]))
        let piece = "10000\r\n" + String(repeating: "x", count: 65536) + "\r\n"
        for _ in 0..<17 { try grown.send(piece) }
        let replies = try grown.replies()
        #expect(replies.map(\.status) == [413])
        // A body of exactly the maximum size is accepted.
        let exact = try EmbeddedConnection()
        let body = String(repeating: "x", count: 1 << 20)
        let reply = try exact.exchange(
            HTTPRequestText.plain(
                "POST", "/chat", ["x-org-id: o", "x-user-id: u", "Content-Length: \(body.utf8.count)"]) + body)
        #expect(reply.status == 200)
    }

    @Test("a client that waits for 100 Continue gets it, unless the body is rejected")
    func expectContinue() throws {
        let head = ["x-org-id: org-1", "x-user-id: u", "Expect: 100-continue"]
        try connection.send(HTTPRequestText.plain("POST", "/chat", head + ["Content-Length: 2"]))
        #expect(try connection.replies().map(\.status) == [100])
        try connection.send("hi")
        #expect(try connection.replies().map(\.status) == [200])
        try connection.send(HTTPRequestText.plain("POST", "/chat", head + ["Content-Length: 2097152"]))
        #expect(try connection.replies().map(\.status) == [413])
    }

    @Test("a request that arrives too slowly gets 408; an idle connection is closed without a response")
    func slowness() throws {
        let half = "POST /chat HTTP/1.1\r\nHost: h\r\nx-org-id: o\r\nx-user-id: u\r\nContent-Length: 5\r\n\r\nhe"
        try connection.send(half)
        connection.channel.embeddedEventLoop.advanceTime(by: .milliseconds(29_999))
        #expect(try connection.replies().isEmpty)
        connection.channel.embeddedEventLoop.advanceTime(by: .milliseconds(1))
        #expect(try connection.replies().map(\.status) == [408])
        #expect(connection.isClosing)

        let idle = try EmbeddedConnection()
        #expect(try idle.exchange(HTTPRequestText.chat("a")).status == 200)
        idle.channel.embeddedEventLoop.advanceTime(by: .milliseconds(74_999))
        #expect(!idle.isClosing)
        idle.channel.embeddedEventLoop.advanceTime(by: .milliseconds(1))
        #expect(try idle.replies().isEmpty)
        #expect(idle.isClosing)
    }

    @Test("a draining server finishes the current request and closes idle connections")
    func quiescing() throws {
        try connection.send(
            "POST /chat HTTP/1.1\r\nHost: h\r\nx-org-id: o\r\nx-user-id: u\r\nContent-Length: 2\r\n\r\nh")
        connection.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        #expect(!connection.isClosing)
        let reply = try connection.exchange("i")
        #expect(reply.status == 200)
        #expect(reply["Connection"] == "close")
        let idle = try EmbeddedConnection()
        idle.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        // A request may be in flight, so an idle connection stays open for another 250 ms.
        #expect(!idle.isClosing)
        idle.channel.embeddedEventLoop.advanceTime(by: .milliseconds(250))
        #expect(idle.isClosing)
        let late = try EmbeddedConnection()
        late.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        late.channel.embeddedEventLoop.advanceTime(by: .milliseconds(249))
        #expect(try late.exchange(HTTPRequestText.chat("o"))["Connection"] == "close")
        #expect(late.isClosing)
    }
}
