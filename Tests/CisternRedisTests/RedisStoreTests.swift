import Cistern
import CisternProcesses
import CisternTesting
import Foundation
import Logging
import NIOCore
import NIOPosix
import Testing

@testable import CisternRedis

/// The store on real redis-servers that reject commands, die, hang and come back.
@Suite("The Redis store")
struct RedisStoreTests {
    private let clock = ClockTimeSource(ContinuousClock())

    private func store(_ url: String, _ change: (inout RedisSettings) -> Void = { _ in }) throws -> RedisStore {
        var settings = RedisSettings()
        change(&settings)
        return try RedisStore(
            endpoints: [RedisEndpoint(url: url)], settings: settings, environment: StoreEnvironment(clock: clock),
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: Logger(label: "test"))
    }

    private func limiter(_ store: RedisStore, timeout: Int64 = 5000, limit: Limit = .standard) -> RateLimiterEngine {
        var settings = LimiterSettings()
        settings.lease.timeoutMilliseconds = timeout
        return RateLimiterEngine(
            limits: Limits(standard: limit), store: store, lesseeID: UUID().uuidString, settings: settings, seed: 1)
    }

    private func decide(_ limiter: RateLimiterEngine, _ key: String = "org") async -> Decision {
        await limiter.decide(key, now: clock.now())
    }

    @Test("the store meters through Redis, and decisions are unmetered once it is stopped")
    func meters() async throws {
        let redis = try await RedisServer()
        let store = try store(redis.url)
        await store.start()
        let limiter = limiter(store)
        #expect(await decide(limiter).remaining == 99)
        let records = try RawRedis(port: redis.port).leaseRecords("ratelimit:org:leases").values
        #expect(records.map(\.sequence) == [1] && records.map(\.tokens) == [1])
        await limiter.returnLeases(clock: clock)
        await store.stop()
        #expect(!store.reports[0].isUp)
        #expect(await decide(limiter).outcome == .unmetered)
    }

    @Test("the store starts while Redis is down, decides at once, and uses Redis once it is up")
    func startsWithoutRedis() async throws {
        var reserved: ReservedPort? = try ReservedPort()
        let port = try #require(reserved).number
        let store = try store("redis://127.0.0.1:\(port)")
        await store.start()
        let limiter = limiter(store)
        #expect(await decide(limiter).outcome == .unmetered)
        #expect(store.reports[0].reason == "Connection refused")
        reserved = nil
        let redis = try await RedisServer(port: port)
        try await eventually("the node to be up") { store.reports[0].isUp }
        #expect(await decide(limiter).outcome == .allowed)
        #expect(store.reports[0].reason == nil)
        try await redis.kill()
        try await eventually("the node to be down") { !store.reports[0].isUp }
        #expect(await decide(limiter).outcome == .unmetered)
        await store.stop()
    }

    @Test("a hung Redis costs the requests in flight one deadline and later ones nothing")
    func hangs() async throws {
        let redis = try await RedisServer()
        // Requests must find the node hung, and not a heartbeat before them.
        let store = try store(redis.url) { $0.heartbeatMilliseconds = 86_400_000 }
        await store.start()
        let limiter = limiter(store, timeout: 1500)
        #expect(await decide(limiter).outcome == .allowed)
        redis.process.signal(SIGSTOP)
        let waiting = await withTaskGroup(of: Decision.Outcome.self) { group in
            for number in 0..<20 { group.addTask { await decide(limiter, "org-\(number)").outcome } }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(waiting == Array(repeating: .unmetered, count: 20))
        let sent = store.reports[0].statistics
        #expect(sent.timedOut == 20)
        // The late requests caused a probe, and the late probe shows that the node is hung.
        try await eventually("the node to be down") { !store.reports[0].isUp }
        for _ in 0..<100 { #expect(await decide(limiter).outcome == .unmetered) }
        // These 100 requests did not wait: they were decided without the store.
        #expect(store.reports[0].statistics.timedOut == 20)
        #expect(store.reports[0].reason == "no reply by the deadline")
        redis.process.signal(SIGCONT)
        try await eventually("the node to be up") { store.reports[0].isUp }
        #expect(await decide(limiter, "fresh").outcome == .allowed)
        await store.stop()
    }

    @Test("a script that Redis has forgotten is sent again, and no request fails")
    func scriptFlush() async throws {
        let redis = try await RedisServer()
        let store = try store(redis.url)
        await store.start()
        let limiter = limiter(store, limit: try Limit(capacity: 100, refillPerSecond: 0.001))
        #expect(await decide(limiter).remaining == 99)
        try await redis.command("SCRIPT", "FLUSH")
        #expect(await decide(limiter).remaining == 98)
        #expect(await decide(limiter).remaining == 97)
        #expect(store.reports[0].statistics.rejected == 0)
        await store.stop()
    }

    @Test("the store logs in with a password or as a user, and selects the configured database")
    func logsIn() async throws {
        let redis = try await RedisServer(["--requirepass", "open sesame"])
        let client = try ChildProcess(
            "redis-cli",
            [
                "-p", "\(redis.port)", "-a", "open sesame", "--no-auth-warning", "ACL", "SETUSER", "meter", "on", ">pw",
                "~ratelimit:*", "-@all", "+select", "+script|load", "+evalsha", "+eval", "+time", "+get",
                "+set", "+del", "+hset", "+hdel", "+hgetall", "+hmget", "+hlen", "+hrandfield", "+pexpire",
            ])
        #expect(try await client.exitCode() == 0)
        for login in [":open%20sesame", "meter:pw"] {
            let store = try store("redis://\(login)@127.0.0.1:\(redis.port)/2")
            await store.start()
            #expect(await decide(limiter(store), "org-\(login.count)").outcome == .allowed)
            await store.stop()
        }
        let keys = try ChildProcess(
            "redis-cli", ["-p", "\(redis.port)", "-a", "open sesame", "--no-auth-warning", "-n", "2", "DBSIZE"])
        _ = try await keys.exitCode()
        #expect(keys.text.contains("6"))
    }

    @Test("a node that repeats a command in its error does not reveal the password")
    func repeatsThePassword() async throws {
        let redis = try await RedisServer(["--rename-command", "AUTH", ""])
        let store = try store("redis://someone:hunter2@127.0.0.1:\(redis.port)")
        await store.start()
        let reason = try #require(store.reports[0].reason)
        #expect(reason.contains("AUTH") && !reason.contains("hunter2") && !reason.contains("someone"), "\(reason)")
        await store.stop()
    }

    @Test("with a wrong password the node stays down with Redis's error, and the failure policy decides")
    func wrongPassword() async throws {
        let redis = try await RedisServer(["--requirepass", "right"])
        for (url, code) in [("redis://:wrong@127.0.0.1:\(redis.port)", "WRONGPASS"), (redis.url, "NOAUTH")] {
            let store = try store(url)
            await store.start()
            #expect(store.reports[0].reason?.hasPrefix(code) == true, "\(String(describing: store.reports[0].reason))")
            #expect(await decide(limiter(store)).outcome == .unmetered)
            await store.stop()
        }
    }

    @Test("a Redis key of the wrong type is replaced, whichever of the three it is", arguments: KeyNames.fields)
    func wrongType(field: String) async throws {
        let redis = try await RedisServer()
        let store = try store(redis.url)
        await store.start()
        let limiter = limiter(store)
        try await redis.command("LPUSH", "ratelimit:broken:\(field)", "x")
        for name in ["broken", "fine"] { #expect(await decide(limiter, name).outcome == .allowed) }
        #expect(store.reports[0].statistics.rejected == 0)
        #expect(try await redis.command("TYPE", "ratelimit:broken:\(field)") == (field == "leases" ? "hash" : "string"))
        await store.stop()
    }

    @Test(
        "a node that rejects writes, such as a replica or a full node, is not used",
        arguments: [("READONLY", ["--replicaof", "127.0.0.1", "1"]), ("OOM", ["--maxmemory", "1"])])
    func refusesWrites(code: String, arguments: [String]) async throws {
        let redis = try await RedisServer(arguments)
        let store = try store(redis.url)
        await store.start()
        #expect(store.reports[0].reason?.hasPrefix(code) == true, "\(String(describing: store.reports[0].reason))")
        #expect(await decide(limiter(store)).outcome == .unmetered)
        #expect(try await redis.command("DBSIZE") == "0")
        await store.stop()
    }

    @Test("a node that begins to reject writes goes down, and is used again when it accepts them")
    func losesWrites() async throws {
        let redis = try await RedisServer()
        let store = try store(redis.url)
        await store.start()
        let limiter = limiter(store)
        #expect(await decide(limiter).outcome == .allowed)
        try await redis.command("REPLICAOF", "127.0.0.1", "1")
        #expect(await decide(limiter, "other").outcome == .unmetered)
        #expect(store.reports[0].reason?.hasPrefix("READONLY") == true)
        try await redis.command("REPLICAOF", "NO", "ONE")
        try await eventually("the node to be up") { store.reports[0].isUp }
        #expect(await decide(limiter, "third").outcome == .allowed)
        await store.stop()
    }

    @Test("a node whose user may not run scripts goes down with the reason NOPERM")
    func noPermission() async throws {
        let redis = try await RedisServer()
        try await redis.command(
            "ACL", "SETUSER", "meter", "on", ">pw", "~ratelimit:*", "-@all", "+select", "+script|load", "+set")
        let store = try store("redis://meter:pw@127.0.0.1:\(redis.port)")
        await store.start()
        let limiter = limiter(store)
        #expect(await decide(limiter).outcome == .unmetered)
        // Each successful probe brings the node up again, until the next request fails.
        try await eventually("the reason") {
            _ = await decide(limiter)
            return store.reports[0].reason?.hasPrefix("NOPERM") == true
        }
        await store.stop()
    }

    @Test("errors are classified even if scripts of older Redis versions wrap them")
    func wrappedErrors() {
        let wrapped =
            "ERR Error running script (call to f_1): @user_script:34: @user_script: 34: -READONLY You can't write"
        #expect(NodeFailure(reply: wrapped)?.kind == .readOnly)
        #expect(NodeFailure(reply: "OOM command not allowed")?.kind == .outOfMemory)
        // The wording of proxies and of other servers.
        for words in [
            "ERR READONLY You can't write against a read only replica.", "-ERR READONLY You can't write",
            "ERR Server is in read-only mode", "ERR this is a Read Only Replica",
        ] {
            #expect(NodeFailure(reply: words)?.kind == .readOnly, "\(words)")
        }
        #expect(NodeFailure(reply: "DENIED Redis is running in protected mode")?.kind == .protectedMode)
        #expect(NodeFailure(reply: "ERR max number of clients reached")?.kind == .tooManyClients)
        #expect(NodeFailure(reply: "ERR max number of clients + cluster connections reached")?.kind == .tooManyClients)
        #expect(NodeFailure(reply: "ERR unknown command 'FOO'") == nil)
        for kind in [NodeFailure.Kind.protectedMode, .tooManyClients, .rejecting, .otherCluster, .outOfMemory] {
            #expect(NodeFailure(kind, "").remedy != nil)
        }
        #expect(NodeFailure(.outOfMemory, "").remedy?.contains("noeviction") == true)
        #expect(NodeFailure(reply: "ERR Error running script (call to f_1): attempt to compare") == nil)
        #expect(NodeFailure(reply: "WRONGTYPE Operation against a key") == nil)
    }

    @Test("a server that is not Redis causes a protocol error, and no request waits for it")
    func notRedis() async throws {
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    channel.writeAndFlush(ByteBuffer(string: "SSH-2.0-OpenSSH\r\n"), promise: nil)
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let store = try store("redis://127.0.0.1:\(listener.localAddress?.port ?? 0)")
        await store.start()
        #expect(store.reports[0].reason?.hasPrefix("protocol error") == true)
        #expect(await decide(limiter(store)).outcome == .unmetered)
        await store.stop()
        try await listener.close()
    }

    @Test("the policy decides requests beyond the bound on pending requests at once")
    func overload() async throws {
        let redis = try await RedisServer()
        let store = try store(redis.url) {
            $0.maximumPendingRequests = 2
            // A heartbeat would count as one of the two pending requests.
            $0.heartbeatMilliseconds = 86_400_000
        }
        await store.start()
        let limiter = limiter(store)
        redis.process.signal(SIGSTOP)
        let outcomes = DecisionLog()
        for number in 0..<5 {
            _ = limiter.decide("org-\(number)".utf8.span, now: clock.now()) { outcomes.add($0) }
        }
        try await eventually("three decisions") { outcomes.all.count == 3 }
        #expect(outcomes.outcomes == [.unmetered, .unmetered, .unmetered])
        redis.process.signal(SIGCONT)
        try await eventually("the other two") { outcomes.all.count == 5 }
        #expect(outcomes.outcomes.suffix(2) == [.allowed, .allowed])
        #expect(store.reports[0].statistics.overloaded == 3)
        await store.stop()
    }

    @Test(
        "a node that answers every request with an error goes down with its reason, and is used again later",
        arguments: [
            ("-ERR READONLY You can't write against a read only replica.", "read-only"),
            ("-ERR Server is in read-only mode", "read-only"), ("-ERR whatever this is", "rejecting"),
        ])
    func rejectsEverything(reply: String, kind: String) async throws {
        let redis = try ScriptedRedis()
        let store = try store(redis.url)
        await store.start()
        let limiter = limiter(store)
        #expect(await decide(limiter).outcome == .allowed)
        // The error fails requests at first, and then the trial call at login as well.
        redis.change { $0.first == "EVALSHA" ? reply + "\r\n" : ScriptedRedis.defaultReplies($0) }
        try await eventually("the node to be down") {
            _ = await decide(limiter, "org-\(Int.random(in: 0..<1000))")
            let nodeFailure = store.reports[0].nodeFailure
            return nodeFailure?.kind.rawValue == kind || kind == "rejecting" && nodeFailure?.kind == .error
        }
        // From now on the policy decides at once, and no request waits for the node.
        #expect(await decide(limiter, "another").outcome == .unmetered)
        redis.change(to: ScriptedRedis.defaultReplies)
        try await eventually("the node to be used again") { store.reports[0].isUp }
        #expect(await decide(limiter, "a third").outcome == .allowed)
        await store.stop()
    }

    @Test("a late reply fails only its own request")
    func oneSlowAnswer() async throws {
        let redis = try await RedisServer()
        // No heartbeat: it would have to be answered during the pause, too.
        let store = try store(redis.url) { $0.heartbeatMilliseconds = 60_000 }
        await store.start()
        let limiter = limiter(store, timeout: 2000)
        #expect(await decide(limiter).outcome == .allowed)
        redis.pause()
        #expect(await decide(limiter, "late").outcome == .unmetered)
        // The probe still has two seconds.
        redis.resume()
        #expect(store.reports[0].isUp)
        #expect(store.reports[0].statistics.timedOut == 1)
        try await eventually("the next to be metered") { await decide(limiter, "next").outcome == .allowed }
        #expect(store.reports[0].isUp)
        await store.stop()
    }

    @Test("a full node and a node in protected mode are reported with a remedy")
    func turnedAway() async throws {
        let full = try await RedisServer(["--maxclients", "1"])
        let holder = try Socket(port: full.port)
        try holder.send("PING\r\n")
        let protected = try ScriptedRedis { _ in "-DENIED Redis is running in protected mode because it is enabled\r\n"
        }
        for (url, kind) in [(full.url, NodeFailure.Kind.tooManyClients), (protected.url, .protectedMode)] {
            let store = try store(url)
            await store.start()
            #expect(store.reports[0].nodeFailure?.kind == kind, "\(store.reports[0].nodeFailure?.message ?? "")")
            #expect(store.reports[0].nodeFailure?.remedy != nil)
            await store.stop()
        }
        withExtendedLifetime(holder) {}
    }
}
