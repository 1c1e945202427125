import CisternProcesses
import CisternTesting
import NIOCore
import NIOEmbedded
import Testing

@testable import CisternHTTP

/// Raw requests that have been used to smuggle a second request past a front-end server (RFC 9112, 11.2).
///
/// A request to `/health` follows each of them. A deceived reader would answer that request, too.
@Suite("Request smuggling")
struct SmugglingTests {
    private static let hidden = "GET /health HTTP/1.1\r\nHost: h\r\n\r\n"
    private static let start = "POST /chat HTTP/1.1\r\nHost: h\r\nx-org-id: o\r\nx-user-id: u\r\n"

    /// Expects exactly one response, a 400, although another request follows the text.
    private func expectRefusal(of text: String) throws {
        let connection = try EmbeddedConnection()
        try connection.send(text + Self.hidden)
        let replies = try connection.replies()
        #expect(replies.map(\.status) == [400], "\(text.debugDescription)")
        #expect(replies.first?["Connection"] == "close")
        #expect(connection.isClosing)
    }

    @Test(
        "conflicting or disguised headers are rejected, and the request after them gets no response",
        arguments: [
            // CL.TE and TE.CL: the two servers disagree on which of the two headers counts.
            "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nGPOST",
            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            // TE.TE: one of the two servers does not recognize the header.
            "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding:\u{c}chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\u{0}\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n \r\n\r\n0\r\n\r\n",
            " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "\u{b}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding\u{0}: chunked\r\n\r\n0\r\n\r\n",
            // Lengths that only some parsers accept as numbers.
            "Content-Length: 5\r\nContent-Length: 0\r\n\r\n", "Content-Length: 0, 0\r\n\r\n",
            "Content-Length: 0 0\r\n\r\n", "Content-Length: +0\r\n\r\n", "Content-Length: -0\r\n\r\n",
            "Content-Length: 0x0\r\n\r\n", "Content-Length: 0.0\r\n\r\n", "Content-Length: 0e1\r\n\r\n",
            "Content-Length: 0\u{b}\r\n\r\n", "Content-Length:\t0\r\n\r\n", "Content-Length : 0\r\n\r\n",
            "Content-Length: ０\r\n\r\n", "Content-Length: 1_0\r\n\r\n", "Content-Length\r\n\r\n",
            "Content-Length: 18446744073709551616\r\n\r\n", "Content-Length: 0\r\n 5\r\n\r\n",
            // Header lines that parsers divide differently.
            "X: y\n\r\n", "X: y\r\r\n\r\n", "X: y\u{0}\r\n\r\n", "X\r\n\r\n", ": y\r\n\r\n", "X Y: z\r\n\r\n",
            "X: y\r\n\n", "X: y\u{7f}\r\n\r\n", "X(: y\r\n\r\n", "\"X\": y\r\n\r\n", "É: y\r\n\r\n",
            // A second Host header.
            "Host: other\r\n\r\n", "host: h\r\n\r\n",
        ])
    func headers(rest: String) throws {
        try expectRefusal(of: Self.start + rest)
    }

    @Test(
        "malformed chunks are rejected, since another parser may end them elsewhere",
        arguments: [
            "0\n\r\n", "0\r\n\n", "0\r\r\n\r\n", "+0\r\n\r\n", "-0\r\n\r\n", "0x0\r\n\r\n", " 0\r\n\r\n", "0 \r\n\r\n",
            "\t0\r\n\r\n",
            "\r\n0\r\n\r\n", "g\r\n\r\n", "1\r\nab\r\n0\r\n\r\n", "1\r\na0\r\n\r\n", "1\r\na\n0\r\n\r\n",
            "1\r\na\r0\r\n\r\n",
            "2\r\na\r\n0\r\n\r\n", "10000000000000000\r\n", "ffffffffffffffff\r\n", "fffffffffffffff0\r\n",
            "0;a\nb\r\n\r\n", "0;a=\"b\nc\"\r\n\r\n", "0;a=\"b\r\n\r\n", "0;\r\n\r\n", "0;=a\r\n\r\n", "0 ;a\r\n\r\n",
            "0;a b\r\n\r\n",
            "0,0\r\n\r\n", "1;\u{0}\r\na\r\n0\r\n\r\n", "0\r\nContent-Length: 5\r\n\r\n",
            "0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "0\r\nHost: h\r\n\r\n", "0\r\nconnection: close\r\n\r\n", "0\r\n X: y\r\n\r\n", "0\r\nX : y\r\n\r\n",
            "0\r\nX\r\n\r\n", "0\r\nX: y\n\r\n",
            "\u{ff10}\r\n\r\n",
        ])
    func chunks(body: String) throws {
        try expectRefusal(of: Self.start + Self.chunked + body)
    }

    @Test(
        "malformed request lines are rejected",
        arguments: [
            "GET  /health HTTP/1.1\r\n", "GET /health  HTTP/1.1\r\n", "GET /health HTTP/1.1 \r\n",
            " GET /health HTTP/1.1\r\n",
            "GET\t/health\tHTTP/1.1\r\n", "GET /health\tHTTP/1.1\r\n", "GET /hea lth HTTP/1.1\r\n",
            "GET /health\u{0} HTTP/1.1\r\n",
            "GET /health\u{b}HTTP/1.1\r\n", "GET /héalth HTTP/1.1\r\n", "GET health HTTP/1.1\r\n",
            "GET ftp://h/health HTTP/1.1\r\n",
            "GET http:///health HTTP/1.1\r\n", "GET http://a@h/health HTTP/1.1\r\n",
            "G@T /health HTTP/1.1\r\n", "GET /health http/1.1\r\n",
            "GET /health HTTP/1.1.1\r\n",
            "GET /health HTTP/11\r\n", "GET /health HTTP/1,1\r\n", "GET /health HTTPS/1.1\r\n",
            "GET /health HTTP/1.1\n",
            "GET /health HTTP/1.1\r\r\n", "\n\nGET /health HTTP/1.1\r\n", "CONNECT /health HTTP/1.1\r\n", "GET\r\n",
            "CONNECT h:80/ HTTP/1.1\r\n", "CONNECT h:80 HTTP/1.1\r\nContent-Length: 4\r\n",
            "CONNECT h:80 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
        ])
    func firstLines(line: String) throws {
        try expectRefusal(of: line + "Host: h\r\n\r\n")
    }

    @Test(
        "requests that the standard allows are read, and the bytes after them are the next request",
        arguments: [
            "Content-Length: 0\r\n\r\n", "content-length:0  \r\n\r\n", "Content-Length: 007\r\n\r\n1234567",
            "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n00000001\r\na\r\n000\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n1;a;b=c;d=\"e f;g\"\r\na\r\nA\r\n0123456789\r\n0;z\r\nX: "
                + "y\r\nZ:\r\n\r\n",
            "X:\r\nY: \t a\tb \t\r\nZ: é\r\n\r\n", "Connection: Keep-Alive\r\n\r\n", "\r\n", "\r\n\r\n\r\n",
        ])
    func allowed(rest: String) throws {
        for isPieceMeal in [false, true] {
            let connection = try EmbeddedConnection()
            let bytes = Array((Self.start + rest + Self.hidden).utf8)
            if isPieceMeal { for byte in bytes { try connection.send([byte]) } } else { try connection.send(bytes) }
            let replies = try connection.replies()
            #expect(replies.map(\.status) == [200, 200])
            #expect(replies.first?.json["orgId"] as? String == "o")
        }
    }

    @Test("an endless head is rejected early, whichever part of it is endless")
    func bounds() throws {
        for (text, status) in [
            (String(repeating: "G", count: 40_000), 414), ("GET /" + String(repeating: "a", count: 40_000), 414),
            (Self.start + String(repeating: "a", count: 40_000), 431),
            (Self.start + "a:" + String(repeating: " ", count: 40_000), 431),
            (Self.start + String(repeating: "a: b\r\n", count: 20_000), 431),
            // Whitespace counts as well; otherwise it could grow without a bound.
            (Self.start + String(repeating: "a:" + String(repeating: " ", count: 8_000) + "\r\n", count: 10), 431),
            (Self.start + Self.chunked + "0\r\n" + String(repeating: "a: b\r\n", count: 20_000), 431),
        ] {
            let connection = try EmbeddedConnection()
            try connection.send(text)
            #expect(try connection.replies().map(\.status) == [status])
            #expect(connection.isClosing)
        }
        for (count, status) in [(253, 200), (254, 431)] {
            let connection = try EmbeddedConnection()
            let fields = String(repeating: "a: b\r\n", count: count)
            #expect(try connection.exchange(Self.start + fields + "\r\n").status == status, "\(count) more lines")
        }
        for size in [String(repeating: "0", count: 300), "1;" + String(repeating: "a", count: 300)] {
            let connection = try EmbeddedConnection()
            try connection.send(Self.start + Self.chunked + size)
            #expect(try connection.replies().map(\.status) == [400])
        }
    }

    @Test(
        "an overlong line gets the same error, however it is split and whichever bytes end it",
        arguments: [
            ("GET /", "\n", 414), (start + "X: ", "\u{0}", 431), (start, "\r\r", 431),
            (start + chunked + "1;", "\r\n", 400), (start + chunked + "1;", "\n", 400),
            (start + chunked + "1\r\na", "\r\n", 400), (start + chunked + "0\r\nX: ", "\n", 431),
        ])
    func piecesOfLongLines(beginning: String, end: String, status: Int) throws {
        let text = beginning + String(repeating: "a", count: 40_000) + end
        let words = try [text.utf8.count, 1000, 7].map { size in
            let connection = try EmbeddedConnection()
            var rest = Array(text.utf8)[...]
            while !rest.isEmpty {
                try connection.send(Array(rest.prefix(size)))
                rest = rest.dropFirst(size)
            }
            let replies = try connection.replies()
            #expect(replies.map(\.status) == [status], "in pieces of \(size) bytes")
            return replies.first?.json["message"] as? String
        }
        #expect(words[0]?.contains("control") == false)
        #expect(Set(words).count == 1, "\(words)")
    }

    @Test(
        "a line of maximum length is read, and a line with one more byte is rejected",
        arguments: [(0, 404, 200), (1, 414, 400)])
    func longestLines(more: Int, ofHead: Int, ofChunk: Int) throws {
        let (method, version) = ("GET /", " HTTP/1.1\r\n")
        let target = String(repeating: "a", count: (32 << 10) + 16 + more - method.count - version.utf8.count + 2)
        let fields = "Host: h\r\nx-org-id: o\r\nx-user-id: u\r\n\r\n"
        #expect(try EmbeddedConnection().exchange(method + target + version + fields).status == ofHead)
        let chunk = "1;" + String(repeating: "a", count: 256 + more - 2) + "\r\na\r\n0\r\n\r\n"
        #expect(try EmbeddedConnection().exchange(Self.start + Self.chunked + chunk).status == ofChunk)
    }

    private static let chunked = "Transfer-Encoding: chunked\r\n\r\n"

    @Test("parsed bytes are discarded even if no read ends at the end of a request")
    func keepsNoMoreThanItMust() throws {
        let connection = try EmbeddedConnection()
        let handler = try connection.channel.pipeline.syncOperations.handler(type: ConnectionHandler.self)
        let rest = Self.start.dropFirst() + "X: " + String(repeating: "x", count: 900) + "\r\n\r\n"
        try connection.send("P")
        for _ in 0..<2000 {
            try connection.send(rest + "P")
            #expect(try connection.replies().count == 1)
        }
        #expect(handler.inbound.capacity <= 16_384)
        let chunked = try EmbeddedConnection()
        let waiting = try chunked.channel.pipeline.syncOperations.handler(type: ConnectionHandler.self)
        try chunked.send(Self.start + Self.chunked + "1;")
        for _ in 0..<5000 { try chunked.send(String(repeating: "a", count: 200) + "\r\nb\r\n1;") }
        #expect(waiting.inbound.capacity <= 16_384)
        try chunked.send("a\r\nb\r\n0\r\n\r\n")
        #expect(try chunked.replies().count == 1)
    }

    @Test(
        "a fragment in the target is rejected, since some parsers make it part of the path",
        arguments: ["/chat#/health", "/#", "/a?b#c"])
    func fragments(target: String) throws {
        try expectRefusal(of: "GET \(target) HTTP/1.1\r\nHost: h\r\n\r\n")
    }

    @Test("empty lines between requests are ignored and do not start a request")
    func emptyLines() throws {
        let connection = try EmbeddedConnection()
        for _ in 0..<1000 { try connection.send("\r\n\r\n\r"); try connection.send("\n") }
        #expect(try connection.replies().isEmpty)
        #expect(try connection.exchange(Self.hidden).status == 200)
        connection.channel.embeddedEventLoop.advanceTime(by: .milliseconds(74_999))
        #expect(!connection.isClosing)
    }

    @Test("half of an empty line does not start a request: the connection stays idle and open")
    func halfAnEmptyLine() throws {
        let connection = try EmbeddedConnection()
        try connection.send("\r")
        connection.channel.embeddedEventLoop.advanceTime(by: .milliseconds(40_000))
        #expect(try connection.replies().isEmpty)
        #expect(!connection.isClosing)
        try connection.send("\n")
        #expect(try connection.exchange(Self.hidden).status == 200)
    }

    @Test("a head that arrives too slowly gets 408, counted from its first byte")
    func slowHead() throws {
        let connection = try EmbeddedConnection()
        try connection.send("GET /heal")
        connection.channel.embeddedEventLoop.advanceTime(by: .milliseconds(29_999))
        try connection.send("th HTTP/1.1\r\n")
        #expect(try connection.replies().isEmpty)
        connection.channel.embeddedEventLoop.advanceTime(by: .milliseconds(1))
        #expect(try connection.replies().map(\.status) == [408])
        #expect(connection.isClosing)
    }
}
