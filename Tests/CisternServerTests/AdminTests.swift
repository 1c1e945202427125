import CisternProcesses
import CisternTesting
import Foundation
import Testing

/// The admin interface of real servers.
@Suite("The admin interface")
struct AdminTests {
    private func allowed(_ count: Int, of organization: String, at server: CisternProcess) throws -> Int {
        let connection = try server.connect()
        try connection.send(String(repeating: HTTPRequestText.chat(organization), count: count))
        return try connection.replies(count).count { $0.status == 200 }
    }

    @Test("the admin API shows the server, its nodes, its busiest organizations and the details of one organization")
    func shows() async throws {
        let redis = try await RedisServer()
        let server = try await CisternProcess(["--redis", redis.url, "--store-timeout", "1s"])
        #expect(try allowed(120, of: "busy", at: server) >= 100)
        #expect(try allowed(3, of: "calm", at: server) == 3)
        let admin = server.admin
        // The status of the server may be a tenth of a second old.
        try await eventually("both to be counted") { try admin.get("/v1/status").json["organizations"] as? Int == 2 }
        #expect(try admin.get("/v1/status").json["store"] as? String == "redis")
        let nodes = try #require(try admin.get("/v1/nodes").json["nodes"] as? [[String: Any]])
        #expect(nodes.first?["state"] as? String == "up" && nodes.count == 1)
        for (sort, first) in [("allowed", "busy"), ("denied", "busy")] {
            let list = try #require(
                try admin.get("/v1/organizations?sort=\(sort)&limit=1").json["organizations"] as? [[String: Any]])
            #expect(list.map { $0["organization"] as? String } == [first])
        }
        let organization = try admin.get("/v1/organizations/calm").json
        #expect(organization["limitSource"] as? String == "default")
        let bucket = try #require(organization["store"] as? [String: Any])
        #expect(bucket["isStored"] as? Bool == true)
        let lessees = try #require(bucket["lessees"] as? [[String: Any]])
        #expect(lessees.map { $0["isThisServer"] as? Bool } == [true])
        #expect(try admin.get("/v1/metrics").body.contains(#"cistern_decisions_total{outcome="allowed"} "#))
        #expect(try admin.get("/v1/health").json["status"] as? String == "ok")
        try await redis.kill()
        try await eventually("the node to be down") {
            let nodes = try admin.get("/v1/nodes").json["nodes"] as? [[String: Any]]
            return nodes?.first?["failure"] as? String == "refused"
        }
        #expect(try admin.get("/v1/health").json["status"] as? String == "degraded")
        let problem = try admin.get("/v1/organizations/calm").json["storeProblem"] as? String
        #expect(problem?.contains("is out of reach: Connection refused") == true)
    }

    @Test("setting or removing an override on one server takes effect on all servers within a lease's duration")
    func overrides() async throws {
        let redis = try await RedisServer()
        var servers: [CisternProcess] = []
        let arguments = [
            "--redis", redis.url, "--store-timeout", "1s", "--lease-duration", "20s", "--lease-horizon", "500ms",
            "--lease-idle", "20s", "--capacity", "4000", "--refill-per-second", "500",
        ]
        for _ in 0..<3 { servers.append(try await CisternProcess(arguments)) }
        for server in servers { #expect(try allowed(300, of: "acme", at: server) > 200) }
        // The servers hold tokens, which must not outlive the limit under which they were leased.
        try await eventually("tokens to be leased") {
            try servers.allSatisfy { try ($0.metric("cistern_outstanding_tokens") ?? 0) > 20 }
        }
        let reply = try servers[0].admin.override("acme", capacity: 7, refill: 0.001)
        #expect(reply.status == 200, "\(reply)")
        for server in servers {
            try await eventually("the override to take effect", within: 20) {
                try server.exchange(HTTPRequestText.chat("acme"))["X-RateLimit-Limit"] == "7"
            }
        }
        var passed = 0
        for server in servers { passed += try allowed(200, of: "acme", at: server) }
        #expect(passed <= 7)
        #expect(try servers[2].exchange(HTTPRequestText.chat("acme")).status == 429)
        #expect(try servers[1].admin.send("DELETE", "/v1/organizations/acme/limit").status == 204)
        try await eventually("the old limit to take effect again") {
            try servers[2].exchange(HTTPRequestText.chat("acme"))["X-RateLimit-Limit"] == "4000"
        }
        try await eventually("the first server to learn of the removal") {
            try servers[0].admin.send("DELETE", "/v1/organizations/acme/limit").status == 404
        }
    }

    @Test("on a Redis Cluster, an override reaches all servers, and a bucket in any slot can be filled")
    func cluster() async throws {
        let cluster = try await RedisCluster(replicasPerPrimary: 0)
        let arguments = [
            "--topology", "cluster", "--redis", cluster.urls[0], "--store-timeout", "1s", "--refill-per-second",
            "0.001",
        ]
        let servers = [try await CisternProcess(arguments), try await CisternProcess(arguments)]
        for organization in ["acme", "globex", "initech", "umbrella"] {
            #expect(try allowed(101, of: organization, at: servers[0]) == 100)
            let path = "/v1/organizations/\(organization)"
            #expect(try servers[0].admin.send("DELETE", path + "/bucket").status == 204)
            #expect(try allowed(101, of: organization, at: servers[0]) == 100)
            let bucket = try servers[1].admin.get(path).json["store"] as? [String: Any]
            #expect(bucket?["slot"] is Int)
            #expect(try servers[0].admin.override(organization, capacity: 7, refill: 1).status == 200)
            try await eventually("the override at the other server") {
                try servers[1].exchange(HTTPRequestText.chat(organization))["X-RateLimit-Limit"] == "7"
            }
        }
    }

    @Test("an override outlives the server that set it, and ends at its expiry time")
    func overridesLast() async throws {
        let redis = try await RedisServer()
        let first = try await CisternProcess(["--redis", redis.url])
        #expect(try first.admin.override("acme", capacity: 7, refill: 1).status == 200)
        #expect(
            try first.admin.override("short", capacity: 7, refill: 1, more: #","expiresInSeconds":1"#).status == 200)
        first.process.signal(SIGTERM)
        #expect(try await first.process.exitCode() == 0)
        let second = try await CisternProcess(["--redis", redis.url, "--store-timeout", "1s"])
        #expect(try second.exchange(HTTPRequestText.chat("acme"))["X-RateLimit-Limit"] == "7")
        try await eventually("the short one to end") {
            try second.exchange(HTTPRequestText.chat("short"))["X-RateLimit-Limit"] == "100"
        }
    }

    @Test("a bucket can be filled and its limit overridden, on Redis and in the embedded store")
    func fills() async throws {
        let redis = try await RedisServer()
        for arguments in [["--redis", redis.url, "--store-timeout", "1s"], []] {
            let server = try await CisternProcess(arguments + ["--refill-per-second", "0.001"])
            #expect(try allowed(101, of: "acme", at: server) == 100)
            #expect(try server.admin.send("DELETE", "/v1/organizations/acme/bucket").status == 204)
            #expect(try allowed(101, of: "acme", at: server) == 100)
            #expect(try server.admin.override("acme", capacity: 200, refill: 0.001).status == 200)
            #expect(try server.admin.send("DELETE", "/v1/organizations/acme/bucket").status == 204)
            #expect(try allowed(201, of: "acme", at: server) == 200)
        }
    }

    @Test("lease settings take effect at once: with a longer horizon there are fewer store calls")
    func leases() async throws {
        let redis = try await RedisServer()
        let server = try await CisternProcess([
            "--redis", redis.url, "--capacity", "100000", "--refill-per-second", "100000", "--lease-horizon", "10ms",
            "--lease-prefetch", "5ms",
        ])
        let load = Load(port: server.port, organizations: 1)
        let admin = server.admin
        // At over 20 requests a second, a horizon of 10 ms means one call per request, or at least 50 calls a second.
        try await eventually("many store calls") { try (admin.sample("storeCalls") ?? 0) > 20 }
        let reply = try admin.send("PUT", "/v1/lease", json: #"{"horizonMilliseconds":1000}"#)
        #expect(reply.status == 200 && reply.json["horizonMilliseconds"] as? Int == 1000, "\(reply)")
        try await eventually("fewer of them") {
            let sample = try admin.sample()
            guard let allowed = sample["allowed"], let calls = sample["storeCalls"] else { return false }
            return allowed > 20 && calls < 10
        }
        _ = try await load.stop()
        #expect(server.process.text.contains(#""message":"lease settings were changed""#))
        #expect(server.process.text.contains(#""by":"local""#))
    }

    @Test("the event stream begins with the history and continues with the current status")
    func events() async throws {
        let server = try await CisternProcess()
        let connection = try Socket(port: server.admin.port)
        try connection.send("GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        var text = ""
        try await eventually("two seconds of events") {
            text += String(decoding: try connection.receive(), as: UTF8.self)
            return text.components(separatedBy: "event: status").count >= 4
        }
        #expect(text.contains("text/event-stream"))
        let order = text.matches(of: /event: (\w+)\n/).map { String($0.1) }.prefix(3)
        #expect(Array(order) == ["history", "status", "busiest"])
        // A stream does not keep the server from stopping.
        server.process.signal(SIGTERM)
        #expect(try await server.process.exitCode() == 0)
    }

    @Test("--admin-port off disables the admin port, and an admin port in use makes the server exit with 69")
    func ports() async throws {
        let server = try await CisternProcess()
        let busy = try CisternProcess.run(["serve", "--port", "0", "--admin-port", "\(server.admin.port)"])
        #expect(try await busy.exitCode() == 69)
        #expect(busy.text.contains("choose another with --admin-port"), "\(busy.text)")
        let alone = try await CisternProcess(["--admin-port", "off"])
        #expect(alone.admin.port == 0)
        #expect(try alone.exchange(HTTPRequestText.chat("org")).status == 200)
    }
}
