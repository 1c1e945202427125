import Cistern
import CisternProcesses
import CisternRedis
import CisternSupport
import CisternTesting
import Foundation
import Testing

/// Faults of one real redis-server or of the network path to it, with traffic at two servers.
@Suite("A fault of a node or of its link under load", .serialized)
struct LinkFaultTests {
    private static let limit = Result { try Limit(capacity: 200, refillPerSecond: 100) }
    private let organizations = (0..<10).map { "org-\($0)" }

    /// A fault of a node: how it begins, how servers report it, and how it ends.
    struct Fault: Sendable, CustomTestStringConvertible {
        let name: String
        /// The failure that servers report while the fault lasts; nil if it is over at once.
        let nodeFailure: NodeFailure.Kind?
        /// The failure that servers log, if it is a different one.
        var logged: NodeFailure.Kind?
        let begin: @Sendable (RedisServer) async throws -> Void
        let end: @Sendable (RedisServer) async throws -> Void
        /// Whether each bucket may start over once, as a full one.
        var losesData = false

        var testDescription: String { name }

        static let nothing: @Sendable (RedisServer) async throws -> Void = { _ in }
    }

    static let faults = [
        Fault(
            name: "CLIENT KILL", nodeFailure: nil, logged: .closed,
            begin: { for _ in 0..<3 { try await $0.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") } },
            end: Fault.nothing),
        Fault(
            name: "SCRIPT FLUSH", nodeFailure: nil, begin: { try await $0.command("SCRIPT", "FLUSH") },
            end: Fault.nothing),
        Fault(
            name: "FLUSHALL", nodeFailure: nil, begin: { try await $0.command("FLUSHALL") }, end: Fault.nothing,
            losesData: true),
        Fault(
            name: "maxmemory with noeviction", nodeFailure: .outOfMemory,
            begin: { try await $0.command("CONFIG", "SET", "maxmemory", "1") },
            end: { try await $0.command("CONFIG", "SET", "maxmemory", "0") }),
        Fault(
            name: "DEBUG SLEEP", nodeFailure: .timeout,
            begin: { redis in
                // redis-cli would wait for the end of the sleep, and this closure must not.
                let connection = try Socket(port: redis.port)
                try connection.send(Array("DEBUG SLEEP 2\r\n".utf8))
            },
            end: Fault.nothing),
        Fault(
            name: "turned into a replica", nodeFailure: .readOnly,
            begin: { try await $0.command("REPLICAOF", "127.0.0.1", "1") },
            end: { try await $0.command("REPLICAOF", "NO", "ONE") }),
        Fault(
            name: "a replica that serves nothing without its primary", nodeFailure: .masterDown,
            begin: { redis in
                try await redis.command("CONFIG", "SET", "replica-serve-stale-data", "no")
                try await redis.command("REPLICAOF", "127.0.0.1", "1")
            },
            end: { try await $0.command("REPLICAOF", "NO", "ONE") }),
        Fault(
            name: "a password from now on", nodeFailure: .noAuth,
            begin: { redis in
                try await redis.command("CONFIG", "SET", "requirepass", "sesame")
                for _ in 0..<3 {
                    let kill = try ChildProcess(
                        "redis-cli",
                        [
                            "-p", "\(redis.port)", "-a", "sesame", "--no-auth-warning", "CLIENT", "KILL", "TYPE",
                            "normal",
                        ])
                    _ = try await kill.exitCode()
                }
            },
            end: { redis in
                let mend = try ChildProcess(
                    "redis-cli",
                    ["-p", "\(redis.port)", "-a", "sesame", "--no-auth-warning", "CONFIG", "SET", "requirepass", ""])
                _ = try await mend.exitCode()
            }),
        Fault(
            name: "a script that does not end", nodeFailure: .busy,
            begin: { redis in
                try await redis.command("CONFIG", "SET", "busy-reply-threshold", "50")
                let connection = try Socket(port: redis.port)
                try connection.send(Array("EVAL \"while true do end\" 0\r\n".utf8))
            },
            end: { _ = try await $0.command("SCRIPT", "KILL") }),
        Fault(
            name: "snapshots that fail", nodeFailure: .cannotPersist,
            begin: { redis in
                var folder: TemporaryDirectory? = try TemporaryDirectory()
                try await redis.command("CONFIG", "SET", "dir", folder?.path ?? "")
                try await redis.command("CONFIG", "SET", "save", "3600 1")
                folder = nil
                try await redis.command("BGSAVE")
                try await eventually("the snapshot to fail") {
                    try await redis.command("INFO", "persistence").contains("rdb_last_bgsave_status:err")
                }
            },
            end: { try await $0.command("CONFIG", "SET", "stop-writes-on-bgsave-error", "no") }),
        Fault(
            name: "min-replicas-to-write", nodeFailure: .tooFewReplicas,
            begin: { try await $0.command("CONFIG", "SET", "min-replicas-to-write", "1") },
            end: { try await $0.command("CONFIG", "SET", "min-replicas-to-write", "0") }),
    ]

    @Test("a node fault is reported, delays no request once known, and use resumes by itself", arguments: faults)
    func node(fault: Fault) async throws {
        let redis = try await RedisServer(["--enable-debug-command", "yes", "--enable-protected-configs", "yes"])
        let fleet = try await Fleet(urls: [redis.url], limit: Self.limit.get())
        let traffic = Traffic(fleet, organizations: organizations, perSecond: 1000)
        try await traffic.goOn(for: 2000)
        try await fault.begin(redis)
        if let nodeFailure = fault.nodeFailure {
            try await eventually("\(nodeFailure) at both, not \(fleet.reports.map(\.nodeFailure))") {
                fleet.reports.allSatisfy { $0.nodeFailure?.kind == nodeFailure }
            }
            let timedOut = fleet.reports.map(\.statistics.timedOut)
            try await traffic.goOn(for: 1000)
            if fault.name != "DEBUG SLEEP" { #expect(fleet.reports.map(\.statistics.timedOut) == timedOut) }
        }
        if let logged = fault.logged ?? fault.nodeFailure {
            try await eventually("a line in the log") {
                fleet.log.all.contains {
                    $0.contains("Redis node is down") && $0.contains("state=\(logged.rawValue)")
                }
            }
        }
        try await fault.end(redis)
        try await traffic.goOn(for: 1000)
        try await eventually("both to use the node") { fleet.areAllUp }
        let mendedAt = fleet.clock.now()
        try await traffic.goOn(for: 3000)
        let report = try await traffic.stop()
        print("\(fault.name): \(report.summary)")
        #expect(report.during(mendedAt.advanced(byMilliseconds: 600), .init(nanoseconds: .max)).count(.unmetered) == 0)
        // Metered admissions always keep to the limit. A bucket that has lost its data is full once more.
        #expect(report.peakOverAdmission <= (fault.losesData ? fleet.limit.capacity : 0))
        if fault.name == "SCRIPT FLUSH" { #expect(report.count(.unmetered) == 0) }
        await fleet.stop()
    }

    // MARK: The network path

    @Test("a slow network path costs time and nothing else")
    func slow() async throws {
        let (redis, proxy, fleet, traffic) = try await behindProxy()
        proxy.delay(requestMilliseconds: 20, replyMilliseconds: 30)
        try await traffic.goOn(for: 4000)
        let report = try await traffic.stop()
        print("50 ms each way and back: \(report.summary)")
        #expect(report.count(.unmetered) == 0 && report.peakOverAdmission <= 0)
        await fleet.stop()
        withExtendedLifetime(redis) { proxy.stop() }
    }

    @Test(
        "replies cut in the middle and corrupted bytes never cause over-admission", arguments: 1...8)
    func damaged(seed: UInt64) async throws {
        let (redis, proxy, fleet, traffic) = try await behindProxy()
        var random = SeededRandom(seed: seed)
        for _ in 0..<10 {
            switch Int.random(in: 0..<3, using: &random) {
            case 0: proxy.cut()
            case 1: proxy.cutAfter(replyBytes: Int.random(in: 1...200, using: &random))
            default: proxy.corruptNext(after: Int.random(in: 0...200, using: &random))
            }
            try await traffic.goOn(for: 300)
        }
        try await eventually("both to use the node") { fleet.areAllUp }
        let report = try await traffic.stop()
        print("cut and damaged, seed \(seed): \(report.summary)")
        #expect(report.peakOverAdmission <= 0)
        await fleet.stop()
        withExtendedLifetime(redis) { proxy.stop() }
    }

    @Test("corrupted replies cause a protocol error, and the node is used again afterwards")
    func garbage() async throws {
        let (redis, proxy, fleet, traffic) = try await behindProxy()
        proxy.corrupt(true)
        try await eventually("a protocol error at both") { fleet.nodeFailures == [.protocol] }
        try await traffic.goOn(for: 500)
        proxy.corrupt(false)
        try await eventually("both to use the node") { fleet.areAllUp }
        let report = try await traffic.stop()
        print("garbage: \(report.summary)")
        #expect(fleet.log.all.contains { $0.contains("state=protocol") })
        #expect(report.peakOverAdmission <= 0)
        await fleet.stop()
        withExtendedLifetime(redis) { proxy.stop() }
    }

    @Test("an idle, half-open connection is detected before a request waits for it")
    func halfOpen() async throws {
        let redis = try await RedisServer()
        let proxy = try ByteProxy(to: redis.port)
        let fleet = try await Fleet(urls: ["redis://127.0.0.1:\(proxy.port)"], limit: Self.limit.get()) {
            $0.heartbeatMilliseconds = 100
            $0.connectTimeoutMilliseconds = 300
        }
        proxy.blackhole(true)
        try await eventually("both to notice") { fleet.reports.allSatisfy { $0.nodeFailure?.kind == .timeout } }
        #expect(fleet.reports.allSatisfy { $0.statistics.timedOut == 0 })
        proxy.blackhole(false)
        try await eventually("both to use the node") { fleet.areAllUp }
        await fleet.stop()
        withExtendedLifetime(redis) { proxy.stop() }
    }

    private func behindProxy() async throws -> (RedisServer, ByteProxy, Fleet, Traffic) {
        let redis = try await RedisServer()
        let proxy = try ByteProxy(to: redis.port)
        let fleet = try await Fleet(urls: ["redis://127.0.0.1:\(proxy.port)"], limit: Self.limit.get())
        let traffic = Traffic(fleet, organizations: organizations, perSecond: 1000)
        try await traffic.goOn(for: 1000)
        return (redis, proxy, fleet, traffic)
    }
}
