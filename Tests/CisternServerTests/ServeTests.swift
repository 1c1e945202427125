import CisternProcesses
import CisternTesting
import Foundation
import Testing

@testable import CisternServer

/// The command as its users run it, with real processes and real sockets.
@Suite("cistern serve")
struct ServeTests {
    @Test("without Redis the server serves from memory, and exits with 0 on SIGTERM")
    func servesFromMemory() async throws {
        let server = try await CisternProcess()
        let connection = try server.connect()
        #expect(try connection.exchange(HTTPRequestText.chat("org-1")).json["message"] as? String == "hi")
        try connection.send(String(repeating: HTTPRequestText.chat("org-2"), count: 120))
        let replies = try connection.replies(120)
        // A few tokens are refilled during the burst.
        let allowed = replies.count { $0.status == 200 }
        #expect((100..<120).contains(allowed))
        #expect(try server.get("/health").hasPrefix(#"{"status":"ok","store":"memory""#))
        server.process.signal(SIGTERM)
        #expect(try await server.process.exitCode() == 0)
    }

    @Test("the server schedules no work once its event loops have ended")
    func endsInOrder() async throws {
        // One run in ten used to fail. Every test that stops a server checks this, too; see `CisternProcess`.
        for _ in 0..<20 {
            let server = try await CisternProcess()
            #expect(try server.exchange(HTTPRequestText.chat("org-1")).status == 200)
            server.process.signal(SIGTERM)
            #expect(try await server.process.exitCode() == 0, "\(server.process.text)")
        }
    }

    @Test("/metrics passes promtool without a warning, and counts the decisions")
    func metrics() async throws {
        let redis = try await RedisServer()
        let server = try await CisternProcess(["--redis", redis.url, "--store-timeout", "1s"])
        for _ in 0..<3 { #expect(try server.exchange(HTTPRequestText.chat("org-1")).status == 200) }
        _ = try server.exchange(HTTPRequestText.plain("GET", "/nowhere"))
        let text = try server.get("/metrics")
        let folder = try TemporaryDirectory()
        let path = try folder.write(text, to: "metrics.txt")
        let promtool = try ChildProcess("/bin/sh", ["-c", "promtool check metrics < '\(path)'"])
        #expect(try await promtool.exitCode() == 0)
        #expect(promtool.text == "")
        for line in [
            #"cistern_decisions_total{outcome="allowed"} 3"#, #"cistern_decisions_total{outcome="unmetered"} 0"#,
            #"cistern_http_requests_total{route="/chat",status="200"} 3"#,
            #"cistern_http_requests_total{route="other",status="401"} 1"#, "cistern_cached_buckets 1",
            #"cistern_lease_tokens_total{event="granted"} 3"#, #"cistern_lease_tokens_total{event="spent"} 3"#,
            #"cistern_node_up{node="127.0.0.1:\#(redis.port)"} 1"#,
            #"cistern_lease_requests_total{node="127.0.0.1:\#(redis.port)",result="granted"} 3"#,
            #"cistern_node_latency_seconds_count{node="127.0.0.1:\#(redis.port)"} 3"#, "cistern_outstanding_tokens 0",
        ] {
            #expect(text.contains(line + "\n"), "\(line)\n\(text)")
        }
    }

    @Test("three servers on one Redis admit exactly a hundred of a burst of three hundred")
    func sharedBurst() async throws {
        let redis = try await RedisServer()
        // The refill is slow, so that the duration of the burst does not matter.
        let arguments = ["--redis", redis.url, "--refill-per-second", "0.01", "--store-timeout", "1s"]
        var servers: [CisternProcess] = []
        for _ in 0..<3 { servers.append(try await CisternProcess(arguments)) }
        let statuses = try burst(300, of: "org-1", at: servers)
        #expect(statuses.count { $0 == 200 } == 100)
        #expect(statuses.count { $0 == 429 } == 200)
        #expect(try burst(3, of: "org-2", at: servers) == [200, 200, 200])
    }

    @Test("the reference's scenarios are exact to the token in real time on a real Redis")
    func scenarios() async throws {
        let redis = try await RedisServer()
        let server = try await CisternProcess(["--redis", redis.url, "--store-timeout", "1s"])
        // Counts the admitted requests of a burst. The bounds below use the measured time.
        func passing(_ organization: String, _ count: Int) throws -> Int {
            let connection = try server.connect()
            try connection.send(String(repeating: HTTPRequestText.chat(organization), count: count))
            return try connection.replies(count).count { $0.status == 200 }
        }
        let start = ContinuousClock.now
        let first = try passing("burst", 150)
        let second = try await {
            try await Task.sleep(until: start + .seconds(1)); return try passing("burst", 60)
        }()
        let elapsed = start.duration(to: .now)
        let admitted = Double(first + second)
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
        #expect(first >= 100 && admitted <= 100 + 10 * seconds)
        #expect(admitted >= 109)

        let steady = try server.connect()
        for _ in 0..<3 {
            for _ in 0..<5 { #expect(try steady.exchange(HTTPRequestText.chat("steady")).status == 200) }
            try await Task.sleep(for: .milliseconds(1000))
        }
        let full = try steady.exchange(HTTPRequestText.chat("steady"))
        #expect(full["X-RateLimit-Remaining"] == "99")

        let idle = try server.connect()
        try idle.send(String(repeating: HTTPRequestText.chat("idle"), count: 100))
        #expect(try idle.replies(100).allSatisfy { $0.status == 200 })
        try await Task.sleep(for: .seconds(10))
        let recovered = try idle.exchange(HTTPRequestText.chat("idle"))
        #expect(recovered["X-RateLimit-Remaining"] == "99")
    }

    @Test("if Redis dies under load, no request fails or waits past its deadline, and metering resumes by itself")
    func redisDies() async throws {
        let redis = try await RedisServer()
        let server = try await CisternProcess(
            ["--redis", redis.url, "--capacity", "1000000", "--lease-minimum", "1000000", "--store-timeout", "1s"])
        let load = Load(port: server.port)
        try await eventually("metered requests") {
            try (server.metric(#"cistern_decisions_total{outcome="allowed"}"#) ?? 0) > 100
        }
        try await redis.kill()
        try await eventually("unmetered requests") {
            try (server.metric(#"cistern_decisions_total{outcome="unmetered"}"#) ?? 0) > 100
        }
        let health = try server.get("/health")
        #expect(health.contains(#""status":"degraded""#) && health.contains(#""state":"down""#))
        #expect(try server.metric(#"cistern_node_up{node="127.0.0.1:\#(redis.port)"}"#) == 0)
        let returned = try await RedisServer(port: redis.port)
        try await eventually("the node to be up") { try server.get("/health").contains(#""status":"ok""#) }
        let metered = try server.metric(#"cistern_decisions_total{outcome="allowed"}"#) ?? 0
        try await eventually("metered requests again") {
            try (server.metric(#"cistern_decisions_total{outcome="allowed"}"#) ?? 0) > metered + 100
        }
        let outcome = try await load.stop()
        #expect(outcome.failed == 0)
        // The timeout of the store bounds the wait, as the server's own duration histogram shows.
        let metrics = try server.get("/metrics")
        let count = metrics.firstMatch(of: /request_duration_seconds_count\{route="\/chat"\} (\d+)/)?.1
        let within = metrics.firstMatch(of: /request_duration_seconds_bucket\{route="\/chat",le="2.5"\} (\d+)/)?.1
        #expect(count != nil && count == within)
        server.process.signal(SIGTERM)
        #expect(try await server.process.exitCode() == 0)
        let lines = server.process.text.split(separator: "\n").filter { $0.contains("Redis node is") }
        #expect(lines.count { $0.contains("is down") } <= 2, "\(lines)")
        #expect(lines.count { $0.contains("is up") } == 2, "\(lines)")
        _ = returned
    }

    @Test("the server starts while Redis is unreachable, logs that once, and admits requests unmetered")
    func unreachableRedis() async throws {
        let port = try ReservedPort()
        let server = try await CisternProcess(["--redis", "redis://127.0.0.1:\(port.number)"])
        let reply = try server.exchange(HTTPRequestText.chat("org-1"))
        #expect(reply.status == 200)
        #expect(reply["X-RateLimit-Remaining"] == "100")
        // Only the admin port shows the reason.
        #expect(try server.get("/health").contains(#""state":"down"}"#))
        #expect(try server.admin.get("/v1/health").body.contains(#""reason":"Connection refused""#))
        #expect(try server.get("/health").contains(/"unmetered":{"decisions":1,"lastSecondsAgo":[0-9]+}/))
        #expect(server.process.text.components(separatedBy: "Redis node is down").count == 2)
    }

    @Test("the server returns its leases when it stops")
    func givesBack() async throws {
        let redis = try await RedisServer()
        let arguments = [
            "--redis", redis.url, "--capacity", "1000", "--refill-per-second", "1000", "--lease-duration", "60s",
            "--lease-minimum", "1",
        ]
        let server = try await CisternProcess(arguments)
        let connection = try server.connect()
        try await eventually("tokens to be leased ahead") {
            _ = try connection.exchange(HTTPRequestText.chat("org-1"))
            return try (server.metric("cistern_outstanding_tokens") ?? 0) > 5
        }
        server.process.signal(SIGTERM)
        #expect(try await server.process.exitCode() == 0)
        let records = try RawRedis(port: redis.port).leaseRecords("ratelimit:org-1:leases")
        #expect(records.count == 1 && records.values.allSatisfy { $0.tokens == 0 }, "\(records)")
    }

    @Test("the server finishes the current request on SIGTERM")
    func drains() async throws {
        let server = try await CisternProcess()
        let connection = try server.connectHalfway()
        let idle = try server.connect()
        #expect(try idle.exchange(HTTPRequestText.chat("org-1")).status == 200)
        server.process.signal(SIGTERM)
        #expect(try idle.receive().isEmpty)
        try connection.send("i")
        #expect(try connection.replies(1).first?.status == 200)
        #expect(try await server.process.exitCode() == 0)
    }

    @Test("the server exits after the drain timeout even if a client never finishes its request")
    func drainLimit() async throws {
        let server = try await CisternProcess(["--drain-timeout", "200ms"])
        let connection = try server.connectHalfway()
        server.process.signal(SIGTERM)
        #expect(try await server.process.exitCode() == 0)
        #expect(server.process.text.contains("cut off"))
        _ = connection
    }

    @Test("a body over the bound gets 413 even while the client is still sending")
    func largeBody() async throws {
        let server = try await CisternProcess()
        let connection = try server.connect()
        try connection.send(
            HTTPRequestText.plain("POST", "/chat", ["x-org-id: o", "x-user-id: u", "Content-Length: 2097152"]))
        // The server may stop reading at any point, but its response must arrive.
        try? connection.send([UInt8](repeating: 0x20, count: 1 << 20))
        #expect(try connection.replies(1).first?.status == 413)
        let other = try server.exchange(HTTPRequestText.chat("o"))
        #expect(other["X-RateLimit-Remaining"] == "99")
    }

    @Test("a client that half-closes gets all its responses, although each waits for Redis")
    func halfClosed() async throws {
        let redis = try await RedisServer()
        let server = try await CisternProcess(["--redis", redis.url, "--store-timeout", "1s"])
        let connection = try server.connect()
        // In one write, so that the last requests most likely arrive before the first response.
        let organizations = (1...20).map { "org-\($0)" }
        try connection.send(organizations.map { HTTPRequestText.chat($0) }.joined())
        connection.finishSending()
        let replies = try connection.replies(organizations.count)
        #expect(replies.map { $0.json["orgId"] as? String } == organizations)
        #expect(try connection.receive().isEmpty)
    }

    @Test("the server rejects connections beyond its bound with 503")
    func connectionBound() async throws {
        let server = try await CisternProcess(["--max-connections", "2"])
        let held = [try server.connect(), try server.connect()]
        for connection in held { #expect(try connection.exchange(HTTPRequestText.chat("o")).status == 200) }
        #expect(try server.connect().replies(1).first?.status == 503)
        #expect(try held[0].exchange(HTTPRequestText.chat("o")).status == 200)
    }

    @Test("a client that half-closes gets all its responses, however slowly it reads them")
    func slowReader() async throws {
        let server = try await CisternProcess()
        let connection = try server.connect()
        // Tens of megabytes of responses, more than socket buffers hold.
        try connection.send(
            Array(String(repeating: HTTPRequestText.plain("GET", "/metrics"), count: 5000).utf8))
        connection.finishSending()
        let mark = Array("HTTP/1.1 200 OK".utf8)
        var (answers, tail) = (0, [UInt8]())
        while case let bytes = try connection.receive(), !bytes.isEmpty {
            let text = tail + bytes
            answers += text.ranges(of: mark).count
            tail = text.suffix(mark.count - 1)
        }
        #expect(answers == 5000)
    }

    @Test(
        "the server exits with 64 on invalid settings, and names the setting, the value and the remedy",
        arguments: [
            (["--port", "80x"], "port is '80x': use a whole number from 0 to 65535"),
            (["--capacity", "1.5"], "capacity is '1.5'"), (["--config", "/no/such"], "config is '/no/such'"),
            (["--redis", "http://x"], "redis: 'http://x' is not a Redis URL"),
            (["--no-such-flag"], "Unknown option '--no-such-flag'"),
            (["--topology", "star"], "topology is 'star': use one of ring, cluster"),
            (["--redis-password", "x"], "Unknown option '--redis-password'"),
        ])
    func wrongSettings(arguments: [String], part: String) async throws {
        let process = try CisternProcess.run(["serve"] + arguments)
        #expect(try await process.exitCode() == 64)
        #expect(process.text.contains(part), "\(process.text)")
    }

    @Test("the server exits with 64 on an invalid environment variable, too")
    func wrongEnvironment() async throws {
        let process = try CisternProcess.run(["serve"], environment: ["CISTERN_PORT": "http"])
        #expect(try await process.exitCode() == 64)
        #expect(process.text.contains("port is 'http'"))
        // This form is ignored in variables only, since Kubernetes sets them to it; in a flag it is an error.
        let flag = try CisternProcess.run(["serve", "--port", "tcp://10.0.0.1:80"])
        #expect(try await flag.exitCode() == 64)
    }

    @Test("the server exits with 69 if its port is in use, and says what to do")
    func portInUse() async throws {
        let server = try await CisternProcess()
        let process = try CisternProcess.run(["serve", "--port", "\(server.port)"])
        #expect(try await process.exitCode() == 69)
        let message =
            """
            cannot listen on 127.0.0.1:\(server.port): the port is in use: stop the process that uses it, \
            or choose another with --port
            """
        #expect(process.text.contains(message), "\(process.text)")
    }

    @Test("--help lists every flag with its help text")
    func help() async throws {
        let process = try CisternProcess.run(["serve", "--help"])
        #expect(try await process.exitCode() == 0)
        let words = process.text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        for setting in Setting.all where setting.hasFlag {
            #expect(words.contains("\(setting.flag) <"), "\(setting.flag)")
            #expect(words.contains(setting.help), "\(setting.help)")
        }
    }
}
