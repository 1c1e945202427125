import CisternProcesses
import CisternTesting
import Foundation
import Synchronization
import Testing

/// Several real servers and nodes, and the operations that operators perform on them.
@Suite("Servers with several Redis nodes")
struct FleetTests {
    private func nodes(_ count: Int) async throws -> [RedisServer] {
        var nodes: [RedisServer] = []
        for _ in 0..<count { nodes.append(try await RedisServer()) }
        return nodes
    }

    // MARK: The policy local

    /// The local fraction and the sequence number on record for each server, sorted by server name.
    private func localFractions(on redis: RedisServer) async throws -> [(millionths: Int, sequence: Int)] {
        let words = try await redis.command("HGETALL", "ratelimit:servers")
            .split(separator: "\n", omittingEmptySubsequences: false)
        let pairs = stride(from: 0, to: words.count - 1, by: 2).map { (words[$0], words[$0 + 1]) }
        return pairs.filter { !$0.0.isEmpty }.sorted { $0.0 < $1.0 }.map { _, record in
            let numbers = record.split(separator: ":").compactMap { Int($0) }
            return (numbers.first ?? 0, numbers.last ?? 0)
        }
    }

    @Test("with the node dead, three servers under the policy local together admit no more than the limit")
    func local() async throws {
        let redis = try await RedisServer()
        let (capacity, refill) = (90, 60)
        let arguments = [
            "--redis", redis.url, "--on-store-failure", "local", "--capacity", "\(capacity)", "--refill-per-second",
            "\(refill)",
        ]
        var servers: [CisternProcess] = []
        for _ in 0..<3 { servers.append(try await CisternProcess(arguments)) }
        try await eventually("a third of the limits for each server") {
            try await localFractions(on: redis).map(\.millionths) == [333_333, 333_333, 333_333]
        }
        // A server's new fraction is in force once the server has reported it, with its next request.
        let told = try await localFractions(on: redis).map(\.sequence)
        try await eventually("each server to have asked once more") {
            try await zip(localFractions(on: redis), told).allSatisfy { $0.sequence > $1 }
        }
        let start = ContinuousClock.now
        let loads = servers.map { Admissions(port: $0.port) }
        try await eventually("some traffic") { loads.allSatisfy { $0.count(200) > 5 } }
        try await redis.kill()
        try await eventually("all servers to notice") {
            try servers.allSatisfy { try $0.get("/health").contains(#""state":"down""#) }
        }
        let before = loads.map { $0.count(200) }
        // Run long enough for 60 tokens at each server. The duration is measured, not assumed.
        try await eventually("each server to go on admitting") {
            zip(loads, before).allSatisfy { $0.count(200) >= $1 + 60 }
        }
        // The count is read first and the time afterwards, so a request in between can only loosen the bound.
        let admitted = loads.reduce(0) { $0 + $1.count(200) }
        let elapsed = start.duration(to: .now)
        for load in loads { load.stop() }
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
        let bound = Double(capacity) + Double(refill) * seconds
        print(
            "local: three servers admitted \(admitted) in \(seconds) s, \(loads.map { $0.count(200) }) each; "
                + "the limit is \(Int(bound)); \(loads.map { $0.count(429) }) denied, "
                + "\(loads.map { $0.count(503) }) refused"
        )
        #expect(Double(admitted) <= bound)
        #expect(loads.allSatisfy { $0.count(503) == 0 && $0.count(429) > 0 })
    }

    @Test("under the policy local, the remaining server gets the fraction of a server that stops")
    func localShares() async throws {
        let redis = try await RedisServer()
        let arguments = ["--redis", redis.url, "--on-store-failure", "local"]
        let staying = try await CisternProcess(arguments)
        let leaving = try await CisternProcess(arguments)
        try await eventually("half of the limits for each server") {
            try await localFractions(on: redis).map(\.millionths) == [500_000, 500_000]
        }
        leaving.process.signal(SIGTERM)
        #expect(try await leaving.process.exitCode() == 0)
        #expect(try await localFractions(on: redis).count == 1)
        try await eventually("all of the limits for the one that stays") {
            try await localFractions(on: redis).map(\.millionths) == [1_000_000]
        }
        withExtendedLifetime(staying) {}
    }

    // MARK: Startup and changes

    @Test("a server starts with every node down, reports it, and meters once the nodes are up")
    func startsWithoutNodes() async throws {
        var reserved: [ReservedPort] = [try ReservedPort(), try ReservedPort()]
        let ports = reserved.map(\.number)
        let server = try await CisternProcess([
            "--redis", ports.map { "redis://127.0.0.1:\($0)" }.joined(separator: ","), "--on-store-failure", "closed",
        ])
        #expect(try server.exchange(HTTPRequestText.chat("org-1")).status == 503)
        let health = try server.admin.get("/v1/health").body
        #expect(health.hasPrefix(#"{"status":"degraded""#) && health.contains(#""failure":"refused""#), "\(health)")
        #expect(health.contains("start Redis there"), "\(health)")
        reserved = []
        var nodes: [RedisServer] = []
        for port in ports { nodes.append(try await RedisServer(port: port)) }
        try await eventually("the server to be healthy") { try server.get("/health").hasPrefix(#"{"status":"ok""#) }
        #expect(try server.exchange(HTTPRequestText.chat("org-1")).status == 200)
        withExtendedLifetime(nodes) {}
    }

    @Test("SIGHUP adds and removes nodes, rejects invalid settings, and names changes that need a restart")
    func hangup() async throws {
        let nodes = try await nodes(3)
        let folder = try TemporaryDirectory()
        let file = "\(folder.path)/cistern.yaml"
        func write(_ urls: [String], more: String = "") throws {
            let list = urls.map { "  - \($0)\n" }.joined()
            try "redis:\n\(list)\(more)".write(toFile: file, atomically: true, encoding: .utf8)
        }
        try write(nodes[..<2].map(\.url))
        let server = try await CisternProcess(["--config", file])
        let names = (0..<40).map { "org-\($0)" }
        func ask() throws {
            for name in names { #expect(try server.exchange(HTTPRequestText.chat(name)).status == 200) }
        }
        func hangUp(until text: String, times: Int = 1) async throws {
            server.process.signal(SIGHUP)
            try await eventually("'\(text)' in \(server.process.text)") {
                server.process.text.components(separatedBy: text).count == times + 1
            }
        }
        try ask()
        #expect(try await nodes[2].command("DBSIZE") == "0")
        try write(nodes.map(\.url), more: "leaseHorizon: 500ms\n")
        try await hangUp(until: "the leases of moved organizations are returned")
        #expect(server.process.text.contains(#""settings":"leaseHorizon""#))
        try ask()
        #expect(try await Int(nodes[2].command("DBSIZE")) ?? 0 >= 3)
        #expect(try server.get("/health").components(separatedBy: #""state":"up""#).count == 4)
        try write(["redis://:hunter2@127.0.0.1:x"])
        try await hangUp(until: "the settings are invalid, keeping the previous settings")
        #expect(!server.process.text.contains("hunter2"))
        try ask()
        try write(nodes[..<2].map(\.url), more: "topology: cluster\n")
        try await hangUp(until: "connection settings have changed as well")
        try ask()
        try write(nodes[1...].map(\.url))
        try await hangUp(until: "the leases of moved organizations are returned", times: 2)
        try ask()
        #expect(try server.get("/health").components(separatedBy: #""state":"up""#).count == 3)
        // The removed node has no lease with tokens left on record.
        for key in try await nodes[0].command("KEYS", "*:leases").split(separator: "\n") {
            for record in try RawRedis(port: nodes[0].port).leaseRecords("\(key)").values {
                let ended = Double(record.endsMilliseconds) / 1000 < Date().timeIntervalSince1970
                #expect(record.tokens == 0 || ended, "\(key): \(record)")
            }
        }
    }

    // MARK: Inspecting Redis

    @Test("cistern nodes shows each node, its share and its organizations, and exits with 69 when one is down")
    func nodesCommand() async throws {
        let nodes = try await nodes(3)
        let urls = ["--redis", nodes.map(\.url).joined(separator: ",") + "?weight=2"]
        let server = try await CisternProcess(urls)
        for number in 0..<60 { _ = try server.exchange(HTTPRequestText.chat("org-\(number)")) }
        let table = try CisternProcess.run(["nodes"] + urls)
        #expect(try await table.exitCode() == 0)
        #expect(table.text.components(separatedBy: " up ").count == 4, "\(table.text)")
        try await nodes[1].kill()
        let json = try CisternProcess.run(["nodes", "--json"] + urls)
        #expect(try await json.exitCode() == 69)
        let line = try #require(json.text.split(separator: "\n").first { $0.hasPrefix("{") })
        let report = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        let reports = try #require(report["nodes"] as? [[String: Any]])
        #expect(Set(reports.compactMap { $0["name"] as? String }) == Set(nodes.map { "127.0.0.1:\($0.port)" }))
        for report in reports {
            let isDead = report["name"] as? String == "127.0.0.1:\(nodes[1].port)"
            let isHeavy = report["name"] as? String == "127.0.0.1:\(nodes[2].port)"
            #expect(report["state"] as? String == (isDead ? "down" : "up"))
            #expect(report["failure"] as? String == (isDead ? "refused" : nil))
            #expect((report["latencyMilliseconds"] == nil) == isDead)
            #expect(report["weight"] as? Int == (isHeavy ? 2 : 1))
            let share = try #require(report["share"] as? Double)
            #expect(abs(share - (isHeavy ? 0.5 : 0.25)) < 0.05)
        }
        let counts = reports.compactMap { $0["organizations"] as? Int }
        #expect(counts.count == 2 && counts.allSatisfy { $0 > 0 } && counts.reduce(0, +) < 60)
        #expect(json.text.contains("cannot be used"))
    }

    @Test("cistern inspect shows an organization's balance and leases, changes nothing, and explains failures")
    func inspectCommand() async throws {
        let nodes = try await nodes(2)
        let urls = ["--redis", nodes.map(\.url).joined(separator: ",")]
        let server = try await CisternProcess(urls + ["--refill-per-second", "0.01", "--lease-duration", "60s"])
        for _ in 0..<30 { _ = try server.exchange(HTTPRequestText.chat("acme")) }
        func dump() async throws -> [String] {
            var all: [String] = []
            for node in nodes {
                for field in ["tokens", "lastRefill"] {
                    all.append(try await node.command("GET", "ratelimit:acme:\(field)"))
                }
                all.append(try await node.command("HGETALL", "ratelimit:acme:leases"))
            }
            return all
        }
        let before = try await dump()
        let json = try CisternProcess.run(["inspect", "acme", "--json", "--refill-per-second", "0.01"] + urls)
        #expect(try await json.exitCode() == 0)
        let report = try #require(try JSONSerialization.jsonObject(with: Data(json.text.utf8)) as? [String: Any])
        #expect(report["organization"] as? String == "acme" && report["capacity"] as? Int == 100)
        #expect(nodes.contains { report["node"] as? String == "127.0.0.1:\($0.port)" })
        let balance = try #require(report["balance"] as? Double)
        #expect((70..<70.1).contains(balance), "\(json.text)")
        let lessees = try #require(report["lessees"] as? [[String: Any]])
        #expect(lessees.count == 1 && lessees[0]["tokens"] as? Int == report["outstanding"] as? Int)
        #expect(try await dump() == before)
        let table = try CisternProcess.run(["inspect", "acme", "--refill-per-second", "0.01"] + urls)
        #expect(try await table.exitCode() == 0)
        #expect(table.text.contains("balance       70.") && table.text.contains("LESSEE"), "\(table.text)")
        let nobody = try CisternProcess.run(["inspect", "nobody"] + urls)
        #expect(try await nobody.exitCode() == 0)
        #expect(nobody.text.contains("a missing bucket is full"))
        for node in nodes { try await node.kill() }
        let dead = try CisternProcess.run(["inspect", "acme"] + urls)
        #expect(try await dead.exitCode() == 69)
        #expect(dead.text.contains("is out of reach: Connection refused"), "\(dead.text)")
        let nowhere = try CisternProcess.run(["inspect", "acme"])
        #expect(try await nowhere.exitCode() == 64)
        #expect(nowhere.text.contains("name the nodes that the servers share"))
    }

    @Test("serve, nodes and inspect work on a Redis Cluster")
    func cluster() async throws {
        let cluster = try await RedisCluster(replicasPerPrimary: 0)
        let arguments = ["--redis", cluster.urls[1], "--topology", "cluster"]
        let server = try await CisternProcess(arguments)
        for number in 0..<30 { #expect(try server.exchange(HTTPRequestText.chat("org-\(number)")).status == 200) }
        let health = try server.get("/health")
        #expect(health.hasPrefix(#"{"status":"ok""#) && health.components(separatedBy: #""state":"up""#).count == 4)
        let table = try CisternProcess.run(["nodes"] + arguments)
        #expect(try await table.exitCode() == 0)
        #expect(
            table.text.contains("SLOTS") && table.text.contains("0-5460") && table.text.contains("33.3"),
            "\(table.text)")
        let bucket = try CisternProcess.run(["inspect", "org-7"] + arguments)
        #expect(try await bucket.exitCode() == 0)
        let slot = try await cluster.slot(ofKey: "ratelimit:{org-7}:tokens")
        #expect(bucket.text.contains("slot \(slot)"), "\(bucket.text)")
    }

    // MARK: Secrets

    @Test(
        "no password appears in ps, in the log, on the pages or in the output of the commands",
        arguments: ["info", "trace"])
    func secrets(logLevel: String) async throws {
        let redis = try await RedisServer(["--requirepass", "hunter2"])
        let folder = try TemporaryDirectory()
        try folder.write("hunter2\n", to: "password")
        let nobody = try ReservedPort()
        let inURL = "redis://:hunter2@127.0.0.1:\(redis.port)"
        let ways: [(arguments: [String], environment: [String: String])] = [
            (["--redis", "\(inURL),redis://:a,hunter2@127.0.0.1:\(nobody.number)"], [:]),
            (["--redis", redis.url, "--redis-password-file", "\(folder.path)/password"], [:]),
            (["--redis", redis.url], ["CISTERN_REDIS_PASSWORD": "hunter2"]),
            ([], ["CISTERN_REDIS": inURL]),
        ]
        for way in ways {
            let server = try await CisternProcess(
                way.arguments + ["--log-level", logLevel], environment: way.environment)
            #expect(try server.exchange(HTTPRequestText.chat("org-1")).status == 200)
            #expect(try server.metric(#"cistern_node_up{node="127.0.0.1:\#(redis.port)"}"#) == 1)
            let arguments = try await self.arguments(of: server.process.processIdentifier)
            #expect(arguments.contains("serve") && !arguments.contains("hunter2"), "\(arguments)")
            let nodes = try CisternProcess.run(["nodes"] + way.arguments, environment: way.environment)
            _ = try await nodes.exitCode()
            #expect(nodes.text.contains("up"))
            for text in [server.process.text, try server.get("/health"), try server.get("/metrics"), nodes.text] {
                #expect(!text.contains("hunter2"), "\(text)")
            }
        }
    }

    /// The arguments of a process, as `ps` shows them.
    private func arguments(of process: Int32) async throws -> String {
        #if os(Linux)
            return try String(contentsOfFile: "/proc/\(process)/cmdline", encoding: .utf8)
        #else
            let ps = try ChildProcess("ps", ["-o", "args=", "-p", "\(process)"])
            _ = try await ps.exitCode()
            return ps.text
        #endif
    }

    // MARK: Permissions

    /// The ACL command of the article on TLS and ACL, which creates a user with only the necessary permissions.
    private func userFromArticle(password: String) throws -> [String] {
        let article = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent(
                "Sources/CisternRedis/CisternRedis.docc/TLSAndACL.md")
        let lines = try String(contentsOf: article, encoding: .utf8).components(separatedBy: "\n")
        // The command spans several lines; every line but the last ends with a backslash.
        let start = try #require(lines.firstIndex { $0.hasPrefix("    ACL SETUSER cistern ") })
        var text = ""
        for line in lines[start...] {
            text += line.replacing("\\", with: " ")
            if !line.hasSuffix("\\") { break }
        }
        return text.replacing("PASSWORD", with: password).split(separator: " ").map(String.init)
    }

    @Test("the permissions that the article lists suffice for serve, nodes and inspect, on a ring and a cluster")
    func rights() async throws {
        let redis = try await RedisServer()
        let user = try userFromArticle(password: "sesame")
        #expect(try await redis.command(user) == "OK")
        let ring = ["--redis", "redis://cistern:sesame@127.0.0.1:\(redis.port)"]
        try await check(ring + ["--on-store-failure", "local"], lookingWith: ring) {}

        let cluster = try await RedisCluster(replicasPerPrimary: 0)
        for port in cluster.ports { #expect(try await cluster.node(port).command(user) == "OK") }
        let arguments = [
            "--redis", "redis://cistern:sesame@127.0.0.1:\(cluster.ports[0])", "--topology", "cluster",
        ]
        try await check(arguments + ["--on-store-failure", "local"], lookingWith: arguments) {
            let slot = try await cluster.slot(ofKey: "ratelimit:{org-1}:tokens")
            let source = try await cluster.primary(ofSlot: slot)
            let target = try #require(cluster.ports.first { $0 != source })
            try await cluster.migrate(slot: slot, from: source, to: target)
        }
    }

    private func check(
        _ arguments: [String], lookingWith link: [String], meanwhile: () async throws -> Void
    ) async throws {
        let server = try await CisternProcess(arguments + ["--store-timeout", "1s"])
        for _ in 0..<3 { #expect(try server.exchange(HTTPRequestText.chat("org-1")).status == 200) }
        try await meanwhile()
        for _ in 0..<3 { #expect(try server.exchange(HTTPRequestText.chat("org-1")).status == 200) }
        #expect(try server.metric(#"cistern_decisions_total{outcome="allowed"}"#) == 6)
        #expect(try server.get("/health").hasPrefix(#"{"status":"ok""#))
        #expect(try server.admin.send("DELETE", "/v1/organizations/org-1/bucket").status == 204)
        #expect(try server.admin.override("org-1", capacity: 7, refill: 1).status == 200)
        #expect(!server.process.text.contains("NOPERM"), "\(server.process.text)")
        for command in [["nodes"], ["inspect", "org-1"]] {
            let process = try CisternProcess.run(command + link)
            #expect(try await process.exitCode() == 0, "\(process.text)")
            #expect(!process.text.contains("NOPERM"), "\(process.text)")
        }
        let nodes = try CisternProcess.run(["nodes", "--json"] + link)
        _ = try await nodes.exitCode()
        #expect(nodes.text.contains("\"organizations\":"), "\(nodes.text)")
    }
}

/// Sends one organization's requests to one server without a pause, and counts the statuses.
private final class Admissions: Sendable {
    private struct State {
        var statuses: [Int: Int] = [:]
        var isRunning = true
    }

    private let state = Mutex(State())

    init(port: Int) {
        Thread.detachNewThread { [self] in
            guard let connection = try? Socket(port: port) else { return }
            while state.withLock({ $0.isRunning }) {
                guard let reply = try? connection.exchange(HTTPRequestText.chat("org-1")) else { return }
                state.withLock { $0.statuses[reply.status, default: 0] += 1 }
            }
        }
    }

    func count(_ status: Int) -> Int { state.withLock { $0.statuses[status] ?? 0 } }

    func stop() { state.withLock { $0.isRunning = false } }
}
