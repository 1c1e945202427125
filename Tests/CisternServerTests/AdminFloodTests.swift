import CisternProcesses
import CisternTesting
import Foundation
import Logging
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import CisternAdmin
@testable import CisternServer

/// Clients that try to lock out operators, probes and scrapes.
@Suite("The admin port under a flood")
struct AdminFloodTests {
    @Test("connections without a request lock no other client out, and are closed soon")
    func silentConnections() async throws {
        let server = try await CisternProcess()
        let port = server.admin.port
        var silent: [Socket] = []
        for _ in 0..<300 { silent.append(try Socket(port: port)) }
        for _ in 0..<5 {
            #expect(try server.admin.get("/v1/health").status == 200)
            #expect(try server.admin.get("/v1/metrics").status == 200)
            #expect(try server.admin.get("/v1/status").status == 200)
        }
        try await eventually("the oldest to be closed") { silent[0].isClosedByPeer }
        try await eventually("all of them to be closed for sending no request", within: 30) {
            silent.allSatisfy(\.isClosedByPeer)
        }
    }

    @Test("a client that reads nothing is disconnected, and so is one that sends no request")
    func deadlines() throws {
        let places = ConnectionLimiter(maximum: 2)
        func connect() throws -> EmbeddedChannel {
            let channel = EmbeddedChannel(handler: AdminConnectionHandler(connections: places))
            try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
            return channel
        }
        let asking = try connect()
        try asking.writeInbound("a request")
        let silent = try connect()
        // At the limit, the connection that has sent no request is closed.
        let new = try connect()
        new.embeddedEventLoop.run()
        #expect(asking.isActive && !silent.isActive && new.isActive)
        // A connection that has shown a token stays; one that has only sent a request is closed.
        places.note(.known, on: asking)
        try new.writeInbound("a request")
        let other = try connect()
        other.embeddedEventLoop.run()
        #expect(asking.isActive && !new.isActive && other.isActive)
        other.embeddedEventLoop.advanceTime(by: .seconds(5))
        #expect(!other.isActive)
        asking.embeddedEventLoop.advanceTime(by: .seconds(60))
        #expect(asking.isActive)
        asking.isWritable = false
        asking.pipeline.fireChannelWritabilityChanged()
        asking.embeddedEventLoop.advanceTime(by: .seconds(9))
        #expect(asking.isActive)
        asking.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(!asking.isActive)
    }

    @Test("among connections without a token, the address with the most connections loses one")
    func crowdedAddress() throws {
        let places = ConnectionLimiter(maximum: 4)
        func connect(_ address: String) throws -> EmbeddedChannel {
            let channel = EmbeddedChannel()
            try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
            places.join(channel, from: address)
            places.note(.asked, on: channel)
            return channel
        }
        let alone = try connect("10.0.0.1")
        let crowd = try (0..<3).map { _ in try connect("10.0.0.2") }
        let other = try connect("10.0.0.3")
        for channel in crowd + [alone, other] { channel.embeddedEventLoop.run() }
        #expect(crowd.map(\.isActive) == [false, true, true])
        #expect(alone.isActive && other.isActive)
    }

    @Test("the admin port survives a lack of descriptors, and answers again once there are enough")
    func fewDescriptors() async throws {
        let (port, admin) = (try Socket.freePort(), try Socket.freePort())
        let process = try ChildProcess(
            "sh",
            [
                "-c",
                "ulimit -n 128; exec \"$0\" serve --port \(port) --admin-port \(admin) --log-level error",
                BuiltProduct.path("cistern"),
            ])
        let request = HTTPRequestText.plain("GET", "/v1/health")
        func isHealthy() -> Bool { (try? Socket(port: admin).exchange(request).status) == 200 }
        try await eventually("the server to be healthy") { isHealthy() }
        var silent: [Socket] = []
        for _ in 0..<200 { silent.append(try Socket(port: admin)) }
        // The accepted connections are closed for sending no request. Then there are descriptors for the others.
        try await eventually("the server to be healthy again", within: 30) { isHealthy() }
        silent.removeAll()
        try await eventually("the server to be healthy without these connections") { isHealthy() }
        process.signal(SIGTERM)
        #expect(try await process.exitCode() == 0)
    }

    @Test("probes and scrapes have separate rate limits, so other requests do not block them")
    func rates() async throws {
        let server = try await CisternProcess()
        var statuses: Set<Int> = []
        let connection = try Socket(port: server.admin.port)
        let request = "GET /v1/lease HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for _ in 0..<2000 where !statuses.contains(429) { statuses.insert(try connection.exchange(request).status) }
        #expect(statuses.contains(429))
        #expect(try server.admin.get("/v1/health").status == 200)
        #expect(try server.admin.get("/v1/metrics").status == 200)
    }

    @Test(
        "invalid nested JSON is rejected within a second of processor time",
        arguments: [
            String(repeating: "[", count: 500) + String(repeating: "]", count: 500),
            String(repeating: "[", count: 32_000) + String(repeating: "]", count: 32_000),
            String(repeating: #"{"a":"#, count: 10_000) + "1" + String(repeating: "}", count: 10_000),
            #"{"capacity":"# + String(repeating: "[", count: 500) + String(repeating: "]", count: 500) + "}",
            "["
                + Array(repeating: String(repeating: "[", count: 15) + String(repeating: "]", count: 15), count: 1900)
                .joined(separator: ",") + "]",
            String(repeating: #"{"a":["#, count: 5000), String(repeating: "[", count: 60_000),
            #"{"capacity":{"a":{"b":[1,2,{"c":"]]]]"}]}},"refillPerSecond":1}"#,
        ])
    func nesting(body: String) async throws {
        let server = try await CisternProcess()
        for path in ["/v1/organizations/acme/limit", "/v1/lease"] {
            let before = try Self.processorTicks(server)
            #expect(try server.admin.send("PUT", path, json: body).status == 400)
            // A body of 64 KB once took minutes. In a debug build, one pass takes tens of milliseconds.
            #expect(try Self.processorTicks(server) - before < 100)
        }
    }

    /// Processor time of a server in hundredths of a second; 0 if the system does not report it.
    private static func processorTicks(_ server: CisternProcess) throws -> Int {
        let path = "/proc/\(server.process.processIdentifier)/stat"
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return 0 }
        let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
        return (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0)
    }

    @Test("a request with a repeated or an invalid Host is rejected", arguments: ["/", "/v1/status", "/nowhere"])
    func hosts(path: String) async throws {
        let server = try await CisternProcess()
        #expect(try server.admin.send("GET", path, headers: ["Host: localhost"]).status == 400)
        for host in ["[::1]evil", "localhost:80:90", "localhost:x", "localhost.evil"] where path == "/v1/status" {
            #expect(try server.admin.send("GET", path, host: host).status == 403, "\(host)")
        }
    }
}

/// Events and overrides that operators can look up later.
@Suite("The journal and the list of overrides")
struct JournalTests {
    private final class Clock: Sendable {
        let milliseconds = Atomic<Int64>(1_000_000)
    }

    @Test("the journal keeps the last hundred events, and merges unmetered requests within five seconds into one")
    func keeps() {
        let time = Clock()
        let journal = Journal(unixMilliseconds: { time.milliseconds.load(ordering: .relaxed) })
        for number in 0..<150 { journal.add("\(number)", level: .notice, details: [:]) }
        #expect(journal.entries.count == 100 && journal.entries.first?.message == "50" && journal.latest == 150)
        journal.addUnmetered(37)
        time.milliseconds.add(1000, ordering: .relaxed)
        journal.addUnmetered(3)
        #expect(journal.entries.last?.details == ["requests": "40"])
        #expect(journal.latest == 152 && journal.entries.count == 100)
        time.milliseconds.add(60_000, ordering: .relaxed)
        journal.addUnmetered(1)
        #expect(journal.entries.suffix(2).map(\.details) == [["requests": "40"], ["requests": "1"]])
    }

    @Test("the journal shows a brief loss of a node and the unmetered requests afterwards")
    func outage() async throws {
        let redis = try await RedisServer()
        let admin = AdminClient(port: try Socket.freePort())
        let server = try await CisternProcess([
            "--redis", redis.url, "--log-level", "error", "--admin-port", "\(admin.port)",
        ])
        try await redis.kill()
        try await eventually("an unmetered decision") {
            _ = try server.exchange(HTTPRequestText.chat("org-1"))
            let status = try admin.get("/v1/status").json["unmetered"] as? [String: Any]
            return (status?["decisions"] as? Int ?? 0) > 0
        }
        let back = try await RedisServer(port: redis.port)
        try await eventually("both events") {
            let entries = try admin.get("/v1/journal").json["entries"] as? [[String: Any]] ?? []
            let messages = entries.compactMap { $0["message"] as? String }
            return messages.contains { $0.contains("node is down") } && messages.contains { $0.contains("node is up") }
                && messages.contains("requests went unmetered")
        }
        let health = try admin.get("/v1/health").json["unmetered"] as? [String: Any]
        #expect((health?["decisions"] as? Int ?? 0) > 0 && health?["lastSecondsAgo"] is Int)
        withExtendedLifetime(back) {}
    }

    @Test("both the admin API and cistern overrides list the overrides, and cistern inspect shows the limit in force")
    func overrides() async throws {
        let redis = try await RedisServer()
        let server = try await CisternProcess(["--redis", redis.url])
        for (name, life) in [("b", #","expiresInSeconds":600"#), ("a", ""), ("c", "")] {
            let body = #"{"capacity":5,"refillPerSecond":2\#(life)}"#
            #expect(try server.admin.send("PUT", "/v1/organizations/\(name)/limit", json: body).status == 200)
        }
        func names(_ query: String) throws -> [String] {
            let list = try server.admin.get("/v1/overrides\(query)").json["overrides"] as? [[String: Any]] ?? []
            return list.compactMap { $0["organization"] as? String }
        }
        #expect(try names("") == ["a", "b", "c"])
        #expect(try names("?limit=2") == ["a", "b"])
        #expect(try names("?limit=2&after=b") == ["c"])
        #expect(try server.admin.get("/v1/overrides?limit=0").status == 400)
        let list = try server.admin.get("/v1/overrides").json["overrides"] as? [[String: Any]] ?? []
        let left = (list[1]["override"] as? [String: Any])?["expiresInSeconds"] as? Int
        #expect(590...600 ~= left ?? 0)
        // A server's name begins with its host name, so that people recognize it.
        let name = try #require(try server.admin.get("/v1/status").json["server"] as? String)
        let host = ProcessInfo.processInfo.hostName.prefix { $0 != "." }.prefix(24)
        #expect(name.hasPrefix("\(host)-\(server.process.processIdentifier)-"), "\(name)")
        let command = try CisternProcess.run(["overrides", "--redis", redis.url])
        #expect(try await command.exitCode() == 0)
        #expect(command.text.split(separator: "\n").count == 4, "\(command.text)")
        let inspect = try CisternProcess.run(["inspect", "b", "--redis", redis.url, "--json"])
        #expect(try await inspect.exitCode() == 0)
        #expect(inspect.text.contains(#""capacity":5,"#) && inspect.text.contains(#""overriddenBy":"local""#))
        try await redis.kill()
        let unreachable = try CisternProcess.run(["inspect", "b", "--redis", redis.url])
        #expect(try await unreachable.exitCode() == 69)
    }
}
