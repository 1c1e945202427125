import CisternProcesses
import CisternTesting
import Foundation
import HTTPTypes
import Testing

@testable import CisternAdmin

/// Requests and settings that the admin interface must reject.
@Suite("Security of the admin interface")
struct AdminSecurityTests {
    private static let secret = "correct-horse-battery"

    private func tokenFile(_ text: String = "# who\nalice:\(secret)\n\nbob:another-secret-of-his\n") throws -> String {
        let folder = try TemporaryDirectory()
        kept.append(folder)
        let path = folder.path + "/tokens"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    private final class Kept {
        private var folders: [TemporaryDirectory] = []
        func append(_ folder: TemporaryDirectory) { folders.append(folder) }
    }

    private let kept = Kept()

    @Test("an admin address that others can reach needs tokens; without them the server exits with the reason")
    func refusesToStart() async throws {
        for host in ["0.0.0.0", "::", "192.0.2.1", "example.com", "127.evil.example.com"] {
            let process = try CisternProcess.run(["serve", "--port", "0", "--admin-host", host])
            #expect(try await process.exitCode() == 64)
            let message = "adminHost is '\(host)': others can reach this address: set adminTokenFile as well"
            #expect(process.text.contains(message), "\(process.text)")
        }
        for (text, message) in [
            ("alice\n", "line 1: use NAME:SECRET"), ("alice:short\n", "line 1: the secret of alice needs at least 16"),
            ("\n# nobody\n", "it has no token"), ("a b:0123456789abcdef\n", "line 1: use NAME:SECRET"),
        ] {
            let process = try CisternProcess.run([
                "serve", "--port", "0", "--admin-port", "0", "--admin-token-file", try tokenFile(text),
            ])
            #expect(try await process.exitCode() == 64)
            #expect(process.text.contains(message) && !process.text.contains("short:"), "\(process.text)")
        }
    }

    @Test("if tokens are set, every protected route needs one, and changes are logged with the token's name")
    func tokens() async throws {
        let server = try await CisternProcess(["--admin-token-file", try tokenFile()])
        var admin = server.admin
        for token in [nil, "wrong", Self.secret + "x", String(Self.secret.dropLast()), "alice", ""] {
            admin.token = token
            for route in AdminRoute.allCases where !route.isOpen {
                let path = route.path.replacing("{organization}", with: "acme")
                let body = route.method == .put ? #"{"capacity":5,"refillPerSecond":1}"# : nil
                let reply = try admin.send(route.method.rawValue, path, json: body)
                #expect(reply.status == 401 && reply["WWW-Authenticate"] == "Bearer", "\(path): \(reply)")
                #expect(reply["Content-Type"] == "application/problem+json")
            }
        }
        for path in ["/", "/dashboard.css", "/dashboard.js", "/openapi.json", "/v1/health"] {
            #expect(try server.admin.get(path).status == 200)
        }
        #expect(try server.exchange(HTTPRequestText.chat("acme"))["X-RateLimit-Limit"] == "100")
        admin.token = Self.secret
        #expect(try admin.override("acme", capacity: 5, refill: 1).status == 200)
        #expect(try server.exchange(HTTPRequestText.chat("acme"))["X-RateLimit-Limit"] == "5")
        try await eventually("the change in the log") { server.process.text.contains(#""by":"alice""#) }
        let line = server.process.text.split(separator: "\n").first { $0.contains("a limit was overridden") } ?? ""
        #expect(line.contains(#""before":"100 tokens, 10/s""#) && line.contains(#""after":"5 tokens, 1/s""#))
        #expect(!server.process.text.contains(Self.secret))
    }

    @Test("SIGHUP reloads the tokens, and an invalid token file changes nothing")
    func tokensChange() async throws {
        let path = try tokenFile()
        let server = try await CisternProcess(["--admin-token-file", path])
        func status(_ token: String) throws -> Int {
            var admin = server.admin
            admin.token = token
            return try admin.get("/v1/status").status
        }
        #expect(try status(Self.secret) == 200)
        let stream = try Socket(port: server.admin.port)
        try stream.send("GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \(Self.secret)\r\n\r\n")
        #expect(try !stream.receive().isEmpty)
        try "carol:yet-another-secret".write(toFile: path, atomically: true, encoding: .utf8)
        server.process.signal(SIGHUP)
        try await eventually("the new token to be valid") { try status("yet-another-secret") == 200 }
        #expect(try status(Self.secret) == 401)
        // A stream that was opened with the old token ends.
        var tail = ""
        try await eventually("the stream to end") {
            tail = String((tail + String(decoding: try stream.receive(), as: UTF8.self)).suffix(64))
            return tail.hasSuffix("0\r\n\r\n")
        }
        try "nonsense".write(toFile: path, atomically: true, encoding: .utf8)
        server.process.signal(SIGHUP)
        try await eventually("the refusal in the log") {
            server.process.text.contains("the settings are invalid, keeping the previous settings")
        }
        #expect(try status("yet-another-secret") == 200)
    }

    @Test("without tokens, only loopback host names and same-origin pages are admitted")
    func browsers() async throws {
        let server = try await CisternProcess()
        let port = server.admin.port
        for host in [
            "127.evil.example.com", "evil.example", "evil.example:\(port)", "192.0.2.1", "localhost.evil.example", "",
        ] {
            #expect(try server.admin.send("GET", "/v1/status", host: host).status == 403, "\(host)")
        }
        for host in ["localhost", "localhost:\(port)", "127.0.0.1:\(port)", "[::1]:\(port)"] {
            #expect(try server.admin.send("GET", "/v1/status", host: host).status == 200, "\(host)")
        }
        for (origin, status) in [("http://evil.example", 403), ("null", 403), ("http://localhost", 200)] {
            let reply = try server.admin.send("GET", "/v1/status", headers: ["Origin: \(origin)"])
            #expect(reply.status == status, "\(origin)")
        }
        for (site, status) in [("cross-site", 403), ("same-origin", 200), ("none", 200)] {
            let reply = try server.admin.send("GET", "/v1/status", headers: ["Sec-Fetch-Site: \(site)"])
            #expect(reply.status == status, "\(site)")
        }
    }

    @Test("every response carries the security headers for browsers")
    func headers() async throws {
        let server = try await CisternProcess()
        for path in ["/", "/dashboard.js", "/v1/status", "/nowhere"] {
            let reply = try server.admin.get(path)
            #expect(reply["Content-Security-Policy"]?.hasPrefix("default-src 'none'; script-src 'self'") == true)
            #expect(reply["X-Content-Type-Options"] == "nosniff" && reply["X-Frame-Options"] == "DENY")
            #expect(reply["Cache-Control"] != nil)
        }
    }

    private static let wrongLimits = [
        "{", "[]", "null", "7", #""x""#, "{}", #"{"capacity":5}"#, #"{"refillPerSecond":5}"#,
        #"{"capacity":"5","refillPerSecond":1}"#, #"{"capacity":5.5,"refillPerSecond":1}"#,
        #"{"capacity":5,"refill":"1/s","refillPerSecond":1}"#, #"{"capacity":5,"refill":1}"#,
        #"{"capacity":-5,"refillPerSecond":1}"#,
        #"{"capacity":1e300,"refillPerSecond":1}"#, #"{"capacity":99999999999999999999,"refillPerSecond":1}"#,
        #"{"capacity":1e999,"refillPerSecond":1}"#, #"{"capacity":5,"refillPerSecond":0}"#,
        #"{"capacity":5,"refillPerSecond":-1}"#, #"{"capacity":5,"refill":"1/week"}"#,
        #"{"capacity":5,"refillPerSecond":1e10}"#, #"{"capacity":5,"refillPerSecond":true}"#,
        #"{"capacity":[5],"refillPerSecond":1}"#, #"{"capacity":{},"refillPerSecond":1}"#,
        #"{"capacity":5,"refillPerSecond":1,"shadow":"yes"}"#, #"{"capacity":5,"refillPerSecond":1,"shadow":1}"#,
        #"{"capacity":5,"refillPerSecond":1,"expiresInSeconds":0}"#,
        #"{"capacity":5,"refillPerSecond":1,"expiresInSeconds":1.5}"#,
        #"{"capacity":5,"refillPerSecond":1,"expires":60}"#, #"{"capacity":1000000000,"refillPerSecond":0.001}"#,
        String(repeating: "[", count: 5000), String(repeating: #"{"a":"#, count: 5000),
    ]

    @Test("every hostile body gets a problem document and changes nothing")
    func hostileBodies() async throws {
        let server = try await CisternProcess()
        for body in Self.wrongLimits {
            let reply = try server.admin.send("PUT", "/v1/organizations/acme/limit", json: body)
            #expect(reply.status == 400, "\(body.prefix(80)): \(reply)")
            #expect(reply["Content-Type"] == "application/problem+json")
            #expect((reply.json["detail"] as? String)?.isEmpty == false && reply.json["status"] as? Int == 400)
        }
        let plain = try server.admin.send(
            "PUT", "/v1/organizations/acme/limit", headers: ["Content-Type: text/plain", "Content-Length: 0"])
        #expect(plain.status == 415)
        #expect(try server.exchange(HTTPRequestText.chat("acme"))["X-RateLimit-Limit"] == "100")
    }

    @Test("hostile lease settings are rejected, and the current settings stay in force")
    func hostileLeases() async throws {
        let redis = try await RedisServer()
        let server = try await CisternProcess(["--redis", redis.url])
        let before = try server.admin.get("/v1/lease").body
        for body in [
            #"{"horizonMilliseconds":1}"#, #"{"horizon":100}"#, #"{"durationMilliseconds":1e9}"#, "{}", "[]",
            #"{"horizonMilliseconds":1500}"#, #"{"durationMilliseconds":150}"#, #"{"prefetchMilliseconds":200}"#,
            #"{"horizonMilliseconds":"250"}"#, #"{"horizonMilliseconds":-1}"#, #"{"horizonMilliseconds":250.5}"#,
        ] {
            let reply = try server.admin.send("PUT", "/v1/lease", json: body)
            #expect(reply.status == 400 && reply["Content-Type"] == "application/problem+json", "\(body): \(reply)")
        }
        #expect(try server.admin.get("/v1/lease").body == before)
    }

    @Test("a bucket with garbage in its Redis keys can be inspected and filled without harm")
    func hostileBuckets() async throws {
        let redis = try await RedisServer()
        let server = try await CisternProcess(["--redis", redis.url, "--store-timeout", "1s"])
        let key: (String) -> String = { "ratelimit:acme:\($0)" }
        let records = [
            "-1:5:9999999999999:0:0:0:0:0:0", "1:9223372036854775807:9999999999999:0:0:0:0:0:0", "1:2:3", "",
            "1:5:9223372036854775807:9223372036854775807:0:0:0:0:0", "a:b:c:d:e:f:g:h:i",
        ]
        for (index, record) in records.enumerated() {
            try await redis.command("HSET", key("leases"), "lessee-\(index)", record)
        }
        for (tokens, time) in [
            ("nan", "-9223372036854775808"), ("inf", "9223372036854775807"), ("-inf", "x"), ("1e300", "1"),
            ("-1e13", ""), ("five", "1e9"), ("", "0"),
        ] {
            try await redis.command("SET", key("tokens"), tokens)
            try await redis.command("SET", key("lastRefill"), time)
            #expect(try server.admin.get("/v1/organizations/acme").status == 200, "\(tokens) \(time)")
        }
        #expect(try server.admin.send("DELETE", "/v1/organizations/acme/bucket").status == 204)
        #expect(try server.exchange(HTTPRequestText.chat("acme")).status == 200)
        #expect(server.process.isRunning)
    }

    @Test("a body of 10 MiB is rejected, with and without an announced length")
    func largeBodies() async throws {
        let server = try await CisternProcess()
        let size = 10 << 20
        let head = "PUT /v1/organizations/acme/limit HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        let announced = try Socket(port: server.admin.port)
        try? announced.send(head + "Content-Length: \(size)\r\n\r\n" + String(repeating: " ", count: size))
        #expect(try announced.replies(1).first?.status == 413)
        let chunked = try Socket(port: server.admin.port)
        let chunk = "10000\r\n" + String(repeating: " ", count: 0x10000) + "\r\n"
        try? chunked.send(
            head + "Transfer-Encoding: chunked\r\n\r\n" + String(repeating: chunk, count: size / 0x10000) + "0\r\n\r\n")
        #expect(try chunked.replies(1).first?.status == 413)
        #expect(try server.exchange(HTTPRequestText.chat("acme"))["X-RateLimit-Limit"] == "100")
    }

    @Test("invalid organization names are rejected on every route")
    func hostileNames() async throws {
        let server = try await CisternProcess()
        let long = String(repeating: "x", count: 129)
        for name in [
            "a%0Ab", "%7Bacme%7D", "a%20b", "%00", "a%2Fb", "%C3%A9", "%", "%zz", long, "..%2f..", "%3Cscript%3E",
        ] {
            for (method, path) in [("GET", ""), ("DELETE", "/bucket"), ("DELETE", "/limit"), ("PUT", "/limit")] {
                let json = method == "PUT" ? #"{"capacity":5,"refillPerSecond":1}"# : nil
                let reply = try server.admin.send(method, "/v1/organizations/\(name)\(path)", json: json)
                #expect(reply.status == 400, "\(method) \(name): \(reply)")
                #expect(reply.json["detail"] != nil)
            }
        }
        #expect(try server.admin.get("/v1/organizations/%61cme").json["organization"] as? String == "acme")
        #expect(try server.admin.get("/v1/organizations?limit=0").status == 400)
        #expect(try server.admin.get("/v1/organizations?limit=1e9").status == 400)
        #expect(try server.admin.get("/v1/nowhere").status == 404)
    }

    @Test("a token that sends requests without a pause gets 429, and another token does not")
    func pace() async throws {
        let server = try await CisternProcess(["--admin-token-file", try tokenFile()])
        var (alice, bob) = (server.admin, server.admin)
        alice.token = Self.secret
        bob.token = "another-secret-of-his"
        let request = "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \(Self.secret)\r\n\r\n"
        var statuses: [Int] = []
        while !statuses.contains(429), statuses.count < 20_000 {
            let connection = try Socket(port: server.admin.port)
            for _ in 0..<200 { statuses.append(try connection.exchange(request).status) }
        }
        #expect(statuses.contains(429) && statuses.contains(200))
        #expect(try bob.get("/v1/status").status == 200)
    }
}

@Suite("Admin tokens")
struct AdminTokensTests {
    @Test("a secret matches only as a whole")
    func secrets() throws {
        let tokens = try AdminTokens("a:0123456789abcdef\r\nb:0123456789abcdeg\n")
        #expect(tokens.name(of: "0123456789abcdef") == "a")
        #expect(tokens.name(of: "0123456789abcdeg") == "b")
        for wrong in ["", "0", "0123456789abcde", "0123456789abcdef0", "a:0123456789abcdef", "1123456789abcdef"] {
            #expect(tokens.name(of: wrong) == nil)
        }
    }

    @Test("loopback addresses are recognized", arguments: ["127.0.0.1", "127.8.9.1", "localhost", "::1"])
    func loopback(host: String) {
        #expect(AdminSettings.isLoopback(host))
    }

    @Test(
        "no other address counts as a loopback address",
        arguments: [
            "0.0.0.0", "10.0.0.1", "127.0.0.1.evil.example", "1270.0.0.1", "127.evil", "", "localhost.com",
            "127.evil.example.com", "127.0.0.256", "127.0.0.+1", "127..0.1",
        ])
    func notLoopback(host: String) {
        #expect(!AdminSettings.isLoopback(host))
    }
}
