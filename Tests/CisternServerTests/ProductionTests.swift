import CisternProcesses
import CisternTesting
import Foundation
import Testing

/// Servers without privileges, in sandboxes, with few descriptors, and with logs that no program reads.
@Suite("A server in production")
struct ProductionTests {
    @Test("a server without any privilege serves, and reaches Redis")
    func unprivileged() async throws {
        let redis = try await RedisServer()
        let server = try await CisternProcess(["--redis", redis.url], launcher: CisternProcess.unprivileged)
        #expect(try server.get("/health").hasPrefix(#"{"status":"ok""#))
        let reply = try server.exchange(HTTPRequestText.chat("org-1"))
        #expect(reply.status == 200 && reply["X-RateLimit-Remaining"] == "99")
        #expect(!server.process.text.contains("TCP_NODELAY"))
        server.process.signal(SIGTERM)
        #expect(try await server.process.exitCode() == 0)
    }

    @Test("variables that Kubernetes sets for a Service of the same name are ignored, and logged")
    func serviceLinks() async throws {
        let server = try await CisternProcess(environment: [
            "CISTERN_PORT": "tcp://10.0.0.1:80", "CISTERN_ADMIN_PORT": "udp://10.0.0.1:80",
            "CISTERN_PORT_80_TCP_ADDR": "10.0.0.1", "CISTERN_SERVICE_HOST": "10.0.0.1",
        ])
        #expect(try server.get("/health").contains("ok"))
        for variable in ["CISTERN_PORT", "CISTERN_ADMIN_PORT"] {
            #expect(server.process.text.contains(#""variable":"\#(variable)""#))
        }
    }

    #if os(Linux)
        @Test("with few descriptors, excess clients get 503, no core spins, and the server reconnects to Redis")
        func descriptors() async throws {
            let redis = try await RedisServer()
            let server = try await CisternProcess(
                ["--redis", redis.url, "--on-store-failure", "closed"], launcher: ["prlimit", "--nofile=64:64"])
            #expect(server.process.text.contains("fewer connections are possible"))
            var clients: [Socket] = []
            for _ in 0..<150 { if let client = try? server.connect() { clients.append(client) } }
            try await redis.kill()
            let back = try await RedisServer(port: redis.port)
            // An accepted client gets a response, and a metered one once Redis is back.
            try await eventually("a metered answer", within: 60) {
                let replies = clients.prefix(8).compactMap { try? $0.exchange(HTTPRequestText.chat("org-1")) }
                return replies.contains { $0.status == 200 && $0["X-RateLimit-Remaining"] != "100" }
            }
            let before = try Self.processorTicks(server.process.processIdentifier)
            try await Task.sleep(for: .seconds(1))
            let ticks = try Self.processorTicks(server.process.processIdentifier) - before
            #expect(ticks < 50, "ticks in a second; a busy core has 100")
            let refused = clients.suffix(40).compactMap { client -> Int? in
                guard let bytes = try? client.receive(), !bytes.isEmpty else { return nil }
                return Int(String(decoding: bytes, as: UTF8.self).split(separator: " ")[1])
            }
            #expect(refused.contains(503), "\(refused)")
            clients = []
            try await eventually("new clients to be served") {
                (try? server.exchange(HTTPRequestText.chat("org-2")).status) == 200
            }
            withExtendedLifetime(back) {}
        }

        private static func processorTicks(_ process: Int32) throws -> Int {
            let text = try String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)
            let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
            return (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0)
        }

        @Test("a server that starts with descriptors 0 to 2 closed opens them on /dev/null and serves")
        func closedDescriptors() async throws {
            let port = try Socket.freePort()
            let process = try ChildProcess(
                "sh",
                [
                    "-c", "exec \"$0\" serve --port \(port) --admin-port off <&- >&- 2>&-",
                    BuiltProduct.path("cistern"),
                ])
            try await eventually("the server to listen") { (try? Socket(port: port)) != nil }
            for descriptor in 0...2 {
                let target = try FileManager.default.destinationOfSymbolicLink(
                    atPath: "/proc/\(process.processIdentifier)/fd/\(descriptor)")
                #expect(target == "/dev/null")
            }
            #expect(try Socket(port: port).exchange(HTTPRequestText.chat("org-1")).status == 200)
        }
    #endif

    @Test("a server keeps deciding at level debug while no program reads its log, and stops on SIGTERM")
    func unreadLog() async throws {
        let port = try Socket.freePort()
        let folder = try TemporaryDirectory()
        let fifo = folder.path + "/log"
        #expect(mkfifo(fifo, 0o600) == 0)
        // Held open so that the server can open it for writing, but never read.
        let holder = open(fifo, O_RDWR | O_NONBLOCK)
        defer { close(holder) }
        let process = try ChildProcess(
            "sh",
            [
                "-c",
                "exec \"$0\" serve --port \(port) --admin-port off --log-level debug --capacity 1000000 2>'\(fifo)'",
                BuiltProduct.path("cistern"),
            ])
        try await eventually("the server to listen") { (try? Socket(port: port)) != nil }
        let connection = try Socket(port: port)
        for _ in 0..<40 {
            try connection.send(String(repeating: HTTPRequestText.chat("org-1"), count: 500))
            #expect(try connection.replies(500).allSatisfy { $0.status == 200 })
        }
        let metrics = try connection.exchange(HTTPRequestText.plain("GET", "/metrics")).body
        let line = try #require(
            metrics.split(separator: "\n").first { $0.hasPrefix("cistern_log_lines_dropped_total ") })
        #expect(try #require(Double(line.split(separator: " ")[1])) > 0)
        process.signal(SIGTERM)
        #expect(try await process.exitCode() == 0)
    }

    @Test("--version prints the version")
    func version() async throws {
        let process = try CisternProcess.run(["--version"])
        #expect(try await process.exitCode() == 0)
        #expect(process.text.wholeMatch(of: /[0-9]+\.[0-9]+\.[0-9]+\n/) != nil, "\(process.text)")
    }

    @Test(
        "certificates that change on disk are used for the next connection, with or without SIGHUP",
        arguments: [true, false])
    func certificates(isToldTo: Bool) async throws {
        let (first, second) = (try await TLSCertificates(), try await TLSCertificates())
        let folder = try TemporaryDirectory()
        let path = folder.path + "/ca.pem"
        try FileManager.default.copyItem(atPath: first.caFile, toPath: path)
        let redis = try await RedisServer(first.serverArguments(authenticatingClients: false), tls: true)
        let server = try await CisternProcess([
            "--redis", "rediss://127.0.0.1:\(redis.port)", "--redis-ca-file", path, "--on-store-failure", "closed",
        ])
        #expect(try server.exchange(HTTPRequestText.chat("org-1")).status == 200)
        try await redis.kill()
        let renewed = try await RedisServer(
            second.serverArguments(authenticatingClients: false), port: redis.port, tls: true)
        try await eventually("the node to be down for its certificate") {
            try server.admin.get("/v1/health").body.contains(#""failure":"tls""#)
        }
        try Data(contentsOf: URL(fileURLWithPath: second.caFile)).write(to: URL(fileURLWithPath: path))
        if isToldTo { server.process.signal(SIGHUP) }
        try await eventually("the node to be used again") {
            try server.exchange(HTTPRequestText.chat("org-2")).status == 200
        }
        withExtendedLifetime(renewed) {}
    }
}
