import Cistern
import CisternProcesses
import CisternTestSupport
import CisternTesting
import Foundation
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import CisternHTTP

@Suite("The HTTP contract")
struct ContractTests {
    private let connection: EmbeddedConnection

    init() throws {
        connection = try EmbeddedConnection()
    }

    private let identity = ["x-org-id: org-1", "x-user-id: u"]

    @Test("POST /chat echoes the message and its sender, and carries the rate-limit headers")
    func chat() throws {
        let reply = try connection.exchange(HTTPRequestText.chat("org-1", body: #"{"message":"hé \"you\""}"#))
        #expect(reply.status == 200)
        #expect(reply["Content-Type"] == "application/json")
        #expect(reply["X-RateLimit-Limit"] == "100")
        #expect(reply["X-RateLimit-Remaining"] == "99")
        #expect(reply["X-RateLimit-Reset"] == "2024-02-04T10:30:01Z")
        #expect(reply["Date"] == "Sun, 04 Feb 2024 10:30:00 GMT")
        #expect(reply.json["orgId"] as? String == "org-1")
        #expect(reply.json["userId"] as? String == "u")
        #expect(reply.json["message"] as? String == "hé \"you\"")
        let id = try #require(reply["X-Request-ID"])
        #expect(reply.json["requestId"] as? String == id)
        #expect(UUID(uuidString: id) != nil)
        #expect(try connection.exchange(HTTPRequestText.chat("org-1"))["X-Request-ID"] != id)
    }

    @Test("a denial is a 429 with exactly the specified body")
    func tooManyRequests() throws {
        connection.clock.advance(milliseconds: 123)
        try connection.send(String(repeating: HTTPRequestText.chat("org-1"), count: 101))
        let reply = try #require(try connection.replies().last)
        #expect(reply.status == 429)
        #expect(reply["X-RateLimit-Limit"] == "100")
        #expect(reply["X-RateLimit-Remaining"] == "0")
        #expect(reply["X-RateLimit-Reset"] == "2024-02-04T10:30:11Z")
        #expect(reply["Retry-After"] == "1")
        #expect(
            reply.body == """
                {"error":"Too Many Requests","message":"Rate limit exceeded; retry in 1 s",\
                "limit":100,"remaining":0,"resetAt":"2024-02-04T10:30:10.123Z"}
                """)
    }

    @Test(
        "a missing identity gets 401 and a malformed one 400, and neither takes a token",
        arguments: [
            (["x-user-id: u"], 401, "x-org-id"), (["x-org-id: org-1"], 401, "x-user-id"), ([], 401, "x-org-id"),
            (["x-org-id: a b", "x-user-id: u"], 400, "x-org-id is 'a b'"),
            (["x-org-id: org-1", "x-user-id: ü"], 400, "x-user-id"),
            (["x-org-id:", "x-user-id: u"], 400, "x-org-id is ''"),
            (["x-org-id: a{b}", "x-user-id: u"], 400, "'a{b}'"),
            (["x-org-id: \(String(repeating: "x", count: 129))", "x-user-id: u"], 400, "129 bytes"),
            (["x-org-id: org-1", "x-org-id: org-2", "x-user-id: u"], 400, "more than once"),
        ] as [([String], Int, String)])
    func identity(headers: [String], status: Int, part: String) throws {
        let reply = try connection.exchange(HTTPRequestText.plain("POST", "/chat", headers))
        #expect(reply.status == status)
        #expect(reply.json["error"] as? String == (status == 401 ? "Unauthorized" : "Bad Request"))
        #expect((reply.json["message"] as? String)?.contains(part) == true, "\(reply.body)")
        #expect(reply.json["requestId"] as? String == reply["X-Request-ID"])
        #expect(reply["X-RateLimit-Limit"] == nil)
        #expect(try connection.exchange(HTTPRequestText.chat("org-1"))["X-RateLimit-Remaining"] == "99")
    }

    @Test("a name of maximum length with every kind of allowed character is an identity")
    func longestIdentity() throws {
        let name = String(String(repeating: "AZaz09._:@-", count: 12).prefix(128))
        #expect(try connection.exchange(HTTPRequestText.chat(name)).json["orgId"] as? String == name)
    }

    @Test("malformed JSON gets 400 and takes no token; without an identity the body is not parsed")
    func malformedJSON() throws {
        let reply = try connection.exchange(HTTPRequestText.chat("org-1", body: #"{"message":"hi""#))
        #expect(reply.status == 400)
        #expect(reply.json["message"] as? String == "the body is not valid JSON: the text ends too early at byte 15")
        #expect(reply["X-RateLimit-Limit"] == nil)
        #expect(try connection.exchange(HTTPRequestText.chat("org-1"))["X-RateLimit-Remaining"] == "99")
        let anonymous = "POST /chat HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{"
        #expect(try connection.exchange(anonymous).status == 401)
    }

    @Test("only POST /chat reads a body, in however many pieces the request comes", arguments: [1, 2])
    func otherBodies(pieces: Int) throws {
        let head =
            "POST /nowhere HTTP/1.1\r\nHost: h\r\nx-org-id: org-1\r\nx-user-id: u\r\n"
            + "Content-Type: application/json\r\nContent-Length: 1\r\n\r\n"
        let text = pieces == 1 ? [head + "{"] : [head, "{"]
        for piece in text.dropLast() { try connection.send(piece) }
        #expect(try connection.exchange(text[text.count - 1]).status == 404)
        #expect(try connection.exchange(HTTPRequestText.chat("org-1"))["X-RateLimit-Remaining"] == "98")
    }

    @Test(
        "OPTIONS needs no identity and takes no token",
        arguments: [("/chat", "POST, OPTIONS"), ("/health", "GET, HEAD, OPTIONS"), ("*", "GET, HEAD, POST, OPTIONS")])
    func preflight(target: String, allow: String) throws {
        for fields in [identity, [], ["Origin: https://a.example", "Access-Control-Request-Method: POST"]] {
            let reply = try connection.exchange(HTTPRequestText.plain("OPTIONS", target, fields))
            #expect(reply.status == 204)
            #expect(reply["Allow"] == allow)
            #expect(reply["Content-Length"] == nil)
            #expect(!connection.isClosing)
        }
        #expect(try connection.exchange(HTTPRequestText.plain("OPTIONS", "/nowhere")).status == 404)
        #expect(try connection.exchange(HTTPRequestText.chat("org-1"))["X-RateLimit-Remaining"] == "99")
    }

    @Test("the reset time is rounded up by less than a second, so it is never in the past")
    func resetIsRoundedUp() throws {
        for milliseconds in stride(from: 1, to: 2000, by: 37) {
            let connection = try EmbeddedConnection()
            connection.clock.advance(milliseconds: Int64(milliseconds))
            let reply = try connection.exchange(HTTPRequestText.chat("org-1"))
            let reset = try Date(#require(reply["X-RateLimit-Reset"]), strategy: .iso8601).timeIntervalSince1970
            let exact = Double(EmbeddedConnection.epochMilliseconds + Int64(milliseconds) + 100) / 1000
            #expect(0..<1 ~= reset - exact)
        }
    }

    @Test("the operator pages can be disabled on the data port")
    func noPages() throws {
        var settings = HTTPSettings()
        settings.servesHealthAndMetrics = false
        let connection = try EmbeddedConnection(settings: settings)
        for path in ["/health", "/metrics"] {
            #expect(try connection.exchange(HTTPRequestText.plain("GET", path)).status == 401)
            #expect(try connection.exchange(HTTPRequestText.plain("GET", path, identity)).status == 404)
        }
    }

    @Test(
        "an invalid Host is rejected, and later minor versions count as HTTP/1.1",
        arguments: [
            ("x:80:90", 400), ("[::1", 400), ("x:abc", 400), ("x:65536", 400), ("[]", 400), ("a]b", 400),
            ("[::1]x", 400), ("x:80", 200), ("[::1]:80", 200), ("x:", 200), ("", 200), ("x:65535", 200),
        ])
    func hosts(host: String, status: Int) throws {
        for version in ["1.1", "1.2", "1.9"] {
            let text = "GET /health HTTP/\(version)\r\nHost: \(host)\r\n\r\n"
            #expect(try EmbeddedConnection().exchange(text).status == status, "\(host) \(version)")
        }
        guard status == 400 else { return }
        #expect(
            try EmbeddedConnection().exchange("GET http://\(host)/health HTTP/1.1\r\nHost: h\r\n\r\n").status == 400)
        #expect(try EmbeddedConnection().exchange("CONNECT \(host) HTTP/1.1\r\nHost: h\r\n\r\n").status == 400)
    }

    @Test("a form's message is read; a body of another type is ignored")
    func otherBodies() throws {
        func post(_ type: String, _ body: String) -> String {
            HTTPRequestText.plain(
                "POST", "/chat", identity + ["Content-Type: \(type)", "Content-Length: \(body.utf8.count)"]) + body
        }
        let form = try connection.exchange(
            post("application/x-www-form-urlencoded; charset=utf-8", "a=1&message=hi+%22you%22%0a&b"))
        #expect(form.json["message"] as? String == "hi \"you\"\n")
        let text = try connection.exchange(post("text/plain", "{not json"))
        #expect(text.status == 200)
        #expect(text.json["message"] is NSNull)
        #expect(try connection.exchange(post("application/json", "")).status == 200)
        #expect(
            try connection.exchange(post("Application/JSON;charset=utf-8", #"{"message":[1,{"a":2}]}"#)).body.contains(
                #""message":[1,{"a":2}]"#))
    }

    @Test("an unknown path is 404, a wrong method 405, and each takes a token")
    func unknownPaths() throws {
        let missing = try connection.exchange(HTTPRequestText.plain("GET", "/nowhere?x=1", identity))
        #expect(missing.status == 404)
        #expect(missing.json["error"] as? String == "Not Found")
        #expect(missing["X-RateLimit-Remaining"] == "99")
        let wrong = try connection.exchange(HTTPRequestText.plain("GET", "/chat", identity))
        #expect(wrong.status == 405)
        #expect(wrong["Allow"] == "POST, OPTIONS")
        #expect(wrong["X-RateLimit-Remaining"] == "98")
        #expect(try connection.exchange(HTTPRequestText.plain("DELETE", "/health", identity)).status == 405)
        #expect(try connection.exchange(HTTPRequestText.plain("GET", "/nowhere")).status == 401)
    }

    @Test("health and metrics need no identity and take no token")
    func operatorPages() throws {
        for _ in 0..<200 {
            #expect(try connection.exchange(HTTPRequestText.plain("GET", "/health")).body == #"{"status":"ok"}"#)
        }
        let metrics = try connection.exchange(HTTPRequestText.plain("GET", "/metrics", identity))
        #expect(metrics.body == "cistern_up 1\n")
        #expect(metrics["Content-Type"] == "text/plain; version=0.0.4")
        #expect(metrics["X-Request-ID"] != nil)
        #expect(metrics["X-RateLimit-Limit"] == nil)
        #expect(try connection.exchange(HTTPRequestText.chat("org-1"))["X-RateLimit-Remaining"] == "99")
    }

    @Test("HEAD answers like GET without the body")
    func head() throws {
        let reply = try connection.exchange(HTTPRequestText.plain("HEAD", "/health"), isHead: true)
        #expect(reply.status == 200)
        #expect(reply["Content-Length"] == "15")
        #expect(
            try connection.exchange(HTTPRequestText.plain("HEAD", "/nowhere", identity), isHead: true).status == 404)
        #expect(try connection.exchange(HTTPRequestText.chat("org-1")).status == 200)
    }

    @Test("an absolute target is routed by its path, and a query does not change the route")
    func targets() throws {
        let absolute = HTTPRequestText.plain("POST", "http://localhost:8080/chat?x=/health", identity)
        #expect(try connection.exchange(absolute).status == 200)
        #expect(try connection.exchange(HTTPRequestText.plain("GET", "/health?verbose=1")).status == 200)
    }

    @Test("requests are counted by route and status")
    func counts() throws {
        try connection.send(String(HTTPRequestText.chat("org-1").dropLast()))
        connection.channel.embeddedEventLoop.advanceTime(by: .milliseconds(5))
        try connection.send("}")
        try connection.send(HTTPRequestText.plain("GET", "/health"))
        try connection.send(HTTPRequestText.plain("GET", "/x", identity))
        let statistics = connection.statistics.mutex.withLock { $0.requests }
        let counts = statistics.requests.map { "\($0.route.label) \($0.status.rawValue) \($0.count)" }
        #expect(counts == ["/chat 200 1", "/health 200 1", "other 404 1"])
        #expect(statistics.durations(of: .chat).sumNanoseconds == 5_000_000)
    }
}
