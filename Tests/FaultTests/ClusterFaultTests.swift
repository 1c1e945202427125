import Cistern
import CisternProcesses
import CisternRedis
import CisternTesting
import Foundation
import NIOSSL
import Testing

/// A real Redis Cluster of six nodes, with traffic at two servers.
@Suite("A Redis Cluster under load", .serialized)
struct ClusterFaultTests {
    private static let limit = Result { try Limit(capacity: 200, refillPerSecond: 100) }
    private let organizations = (0..<30).map { "org-\($0)" }

    private func fleet(_ cluster: RedisCluster, record: GrantLog? = nil) async throws -> Fleet {
        // One seed node is enough; the servers discover the other nodes.
        try await Fleet(urls: [cluster.urls[0]], topology: .cluster, limit: Self.limit.get(), record: record)
    }

    // MARK: Failover

    @Test(
        "a failover affects only the primary's slots, and over-admission is at most what replication lost",
        arguments: [false, true])
    func failover(replicaLags: Bool) async throws {
        let cluster = try await RedisCluster(arguments: ["--cluster-require-full-coverage", "no"])
        let record = GrantLog()
        let fleet = try await fleet(cluster, record: record)
        try await eventually("all primaries to be in use") { fleet.areAllUp && fleet.reports.count == 6 }
        let slot = fleet.partition(of: organizations[0])
        let primary = try await cluster.primary(ofSlot: slot)
        let replica = try #require(try await cluster.replicas(of: primary).first)
        let owned = try #require(fleet.reports.first { $0.name == "127.0.0.1:\(primary)" }).slots
        let own = Set(
            organizations.indices.filter { index in
                owned.contains { $0.contains(fleet.partition(of: organizations[index])) }
            })
        let traffic = Traffic(fleet, organizations: organizations, perSecond: 2000)
        try await traffic.goOn(for: 6000)
        if replicaLags {
            // From now on, the grants of the primary never reach its replica.
            try cluster.node(replica).process.signal(SIGSTOP)
            try await cluster.command(on: primary, "CLIENT", "KILL", "TYPE", "replica")
            try await traffic.goOn(for: 1500)
        }
        let killedAt = fleet.clock.now()
        try await cluster.kill(primary)
        let granted = record.all
        if replicaLags { try cluster.node(replica).process.signal(SIGCONT) }
        let lost = try lostTokens(of: own, granted: granted, replica: replica)
        _ = try await cluster.waitForFailover(ofSlot: slot, from: primary)
        try await eventually("both servers to use the new primary") { fleet.areAllUp && fleet.reports.count == 6 }
        let movedAt = fleet.clock.now()
        try await traffic.goOn(for: 6000)
        try await cluster.restart(primary)
        try await traffic.goOn(for: 4000)
        let report = try await traffic.stop()
        let others = report.filter { !own.contains($0.key) }
        let failed = report.filter { own.contains($0.key) }
        print("failover\(replicaLags ? ", replica behind" : ""), other slots: \(others.summary)")
        print("failover\(replicaLags ? ", replica behind" : ""), its slots: \(failed.summary)")
        print(
            "failover: new primary in use after \(movedAt.milliseconds - killedAt.milliseconds) ms; replication lost "
                + "\(lost.values.reduce(0, +)) tokens, at most \(lost.values.max() ?? 0) of one organization")
        #expect(others.count(.unmetered) == 0 && others.count(.refused) == 0)
        #expect(others.peakOverAdmission <= 0)
        for (key, overAdmission) in failed.overAdmission {
            #expect(overAdmission <= lost[key] ?? 0, "\(organizations[key])")
        }
        if replicaLags { #expect(lost.values.contains { $0 > 0 }) }
        let later = failed.during(movedAt.advanced(byMilliseconds: 1000), Instant(nanoseconds: .max))
        #expect(later.count(.unmetered) == 0 && later.count(.refused) == 0 && !later.requests.isEmpty)
        await fleet.stop()
    }

    /// The tokens of grants that the replica does not know of, by organization.
    private func lostTokens(of own: Set<Int>, granted: [GrantLog.Entry], replica: Int) throws -> [Int: Int] {
        let redis = try RawRedis(port: replica)
        try redis.send("READONLY")
        // The last sequence number that the replica knows, by organization and lessee.
        var known: [String: UInt64] = [:]
        for index in own {
            for (lesseeID, record) in try redis.leaseRecords("ratelimit:{\(organizations[index])}:leases") {
                known["\(organizations[index]) \(lesseeID)"] = record.sequence
            }
        }
        #expect(!known.isEmpty)
        var lost: [Int: Int] = [:]
        for index in own {
            let grants = granted.filter { entry in
                entry.isSuccess && entry.key == organizations[index]
                    && entry.sequence > known["\(entry.key) \(entry.lesseeID)"] ?? 0
            }
            lost[index] = grants.reduce(0) { $0 + $1.tokens }
        }
        return lost
    }

    // MARK: Moving slots

    @Test("a slot moves under load, key by key, without a failed request or over-admission", arguments: [1, 10])
    func migration(batch: Int) async throws {
        let cluster = try await RedisCluster(replicasPerPrimary: 0)
        let fleet = try await fleet(cluster)
        let slot = fleet.partition(of: "org-0")
        // Names in one slot: some have buckets before the move begins, others appear during it.
        let names = (0...).lazy.map { "org-\($0)" }.filter { fleet.partition(of: $0) == slot }.prefix(12)
        let (old, new) = (Array(names.prefix(8)), Array(names.suffix(4)))
        let source = try await cluster.primary(ofSlot: slot)
        let target = try #require(cluster.ports.first { $0 != source })
        let traffic = Traffic(fleet, organizations: old, perSecond: 1000)
        try await traffic.goOn(for: 3000)
        var newcomers: Traffic?
        try await cluster.migrate(slot: slot, from: source, to: target, batch: batch) { step in
            if step == .migrating { newcomers = Traffic(fleet, organizations: new, perSecond: 200) }
            // While a bucket's keys are on two nodes, its requests wait. redis-cli does not pause there either.
            if case .moved = step { return }
            try await traffic.goOn(for: 400)
        }
        try await traffic.goOn(for: 3000)
        let report = try await traffic.stop()
        let late = try await #require(newcomers).stop()
        print("slot moved, \(batch) keys at once: \(report.summary); newcomers: \(late.summary)")
        for report in [report, late] {
            #expect(report.count(.unmetered) == 0 && report.count(.refused) == 0 && report.count(.allowed) > 0)
            #expect(report.peakOverAdmission <= 0)
        }
        #expect(fleet.reports.reduce(0) { $0 + $1.statistics.redirected } > 0)
        #expect(fleet.reports.reduce(0) { $0 + $1.statistics.rejected + $1.statistics.timedOut } == 0)
        await fleet.stop()
    }

    @Test("a node that has lost all its slots is dropped, and a node that received slots is used")
    func drained() async throws {
        let cluster = try await RedisCluster(replicasPerPrimary: 0)
        let fleet = try await fleet(cluster)
        let traffic = Traffic(fleet, organizations: organizations, perSecond: 1000)
        try await traffic.goOn(for: 1000)
        let (source, target) = (cluster.ports[2], cluster.ports[0])
        let slots = try #require(fleet.reports.first { $0.name == "127.0.0.1:\(source)" }).slots.flatMap { $0 }
        let reshard = try ChildProcess(
            "redis-cli",
            [
                "--cluster", "rebalance", "127.0.0.1:\(target)", "--cluster-weight",
                "\(try await cluster.command(on: source, "CLUSTER", "MYID"))=0",
            ])
        #expect(try await reshard.exitCode(within: 120) == 0, "\(reshard.text.suffix(500))")
        try await eventually("both servers to know two nodes") {
            fleet.reports.count == 4 && fleet.reports.allSatisfy { !$0.slots.isEmpty && $0.isUp }
        }
        try await traffic.goOn(for: 1000)
        let report = try await traffic.stop()
        print("\(slots.count) slots moved away from a node: \(report.summary)")
        #expect(report.count(.unmetered) == 0 && report.count(.refused) == 0 && report.peakOverAdmission <= 0)
        await fleet.stop()
    }

    // MARK: Startup

    @Test("a server finds the cluster through any seed node that answers, with TLS and a password")
    func beginnings() async throws {
        let certificates = try await TLSCertificates()
        let cluster = try await RedisCluster(
            replicasPerPrimary: 0, password: "sesame", certificates: certificates)
        let nobody = try ReservedPort()
        let urls = ["rediss://:sesame@127.0.0.1:\(nobody.number)", "rediss://:sesame@127.0.0.1:\(cluster.ports[1])"]
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .file(certificates.caFile)
        tls.certificateChain = try NIOSSLCertificate.fromPEMFile(certificates.clientCert).map { .certificate($0) }
        tls.privateKey = .privateKey(try NIOSSLPrivateKey(file: certificates.clientKey, format: .pem))
        let fleet = try await Fleet(1, urls: urls, topology: .cluster, limit: Self.limit.get()) { $0.tls = tls }
        #expect(fleet.areAllUp && fleet.reports.count == 3)
        for name in organizations {
            #expect(await fleet.servers[0].limiter.decide(name, now: fleet.clock.now()).outcome == .allowed)
        }
        await fleet.stop()
    }

    @Test("new seed nodes lead to a new cluster at other addresses")
    func newSeeds() async throws {
        var old: RedisCluster? = try await RedisCluster(primaries: 3, replicasPerPrimary: 0)
        let fleet = try await Fleet(1, urls: [try #require(old).urls[0]], topology: .cluster, limit: Self.limit.get())
        #expect(fleet.areAllUp && fleet.reports.count == 3)
        old = nil
        try await eventually("the old nodes to be lost") { fleet.reports.allSatisfy { !$0.isUp } }
        let new = try await RedisCluster(primaries: 3, replicasPerPrimary: 0)
        try await fleet.servers[0].store.change(to: [RedisEndpoint(url: new.urls[1])])
        try await eventually("the new nodes to be in use") {
            fleet.areAllUp && Set(fleet.reports.map(\.name)) == Set(new.ports.map { "127.0.0.1:\($0)" })
        }
        #expect(await fleet.servers[0].limiter.decide("org-1", now: fleet.clock.now()).outcome == .allowed)
        await fleet.stop()
    }

    @Test("a node of another cluster at a dead node's address is reported, and its slots are not adopted")
    func foreignNode() async throws {
        let cluster = try await RedisCluster(
            replicasPerPrimary: 0, arguments: ["--cluster-require-full-coverage", "no"])
        let fleet = try await Fleet(
            1, urls: cluster.urls, topology: .cluster, limit: Self.limit.get(), policy: .closed)
        #expect(fleet.areAllUp && fleet.reports.count == 3)
        let victim = cluster.ports[1]
        let lost = try #require(fleet.reports.first { $0.name == "127.0.0.1:\(victim)" }).slots
        try await cluster.kill(victim)
        let folder = try TemporaryDirectory()
        let foreign = try await RedisServer(["--cluster-enabled", "yes", "--dir", folder.path], port: victim)
        try await foreign.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        try await eventually("the foreign node to be reported") { fleet.nodeFailures.contains(.otherCluster) }
        // The other nodes keep their slots, and the foreign node gets no bucket.
        for name in organizations {
            let outcome = await fleet.servers[0].limiter.decide(name, now: fleet.clock.now()).outcome
            let isLost = lost.contains { $0.contains(fleet.partition(of: name)) }
            #expect(outcome == (isLost ? .refused : .allowed), "\(name)")
        }
        #expect(try await foreign.command("DBSIZE") == "0")
        #expect(fleet.reports.count { $0.isUp } == 2)
        await fleet.stop()
    }

    @Test("under the policy local, a lost primary's organizations stay metered, and others are unaffected")
    func local() async throws {
        let cluster = try await RedisCluster(
            replicasPerPrimary: 0, arguments: ["--cluster-require-full-coverage", "no"])
        let fleet = try await Fleet(
            urls: [cluster.urls[0]], topology: .cluster, limit: Self.limit.get(), policy: .local)
        // The node that records the local fractions stays; another node is lost.
        let registry = try await cluster.primary(ofSlot: cluster.slot(ofKey: "ratelimit:servers"))
        try await eventually("half of the limits for each server") {
            let records = try await cluster.command(on: registry, "HVALS", "ratelimit:servers")
            return records.split(separator: "\n").count { $0.hasPrefix("500000:") } == 2
        }
        let victim = try #require(cluster.ports.first { $0 != registry })
        let owned = try #require(fleet.reports.first { $0.name == "127.0.0.1:\(victim)" }).slots
        let own = Set(
            organizations.indices.filter { index in
                owned.contains { $0.contains(fleet.partition(of: organizations[index])) }
            })
        let traffic = Traffic(fleet, organizations: organizations, perSecond: 4000)
        try await traffic.goOn(for: 8000)
        try await cluster.kill(victim)
        try await traffic.goOn(for: 16_000)
        let report = try await traffic.stop()
        let lost = report.filter { own.contains($0.key) }
        print("local on a cluster: \(report.summary); of the lost node: \(lost.summary)")
        #expect(report.count(.unmetered) == 0 && report.count(.refused) == 0)
        #expect(report.peakOverAdmission <= 0)
        await fleet.stop()
    }

    @Test("a server reports a single node configured as a cluster, and a cluster configured as a ring")
    func mixedUp() async throws {
        let redis = try await RedisServer()
        let fleet = try await Fleet(1, urls: [redis.url], topology: .cluster, limit: Self.limit.get())
        try await eventually("the node failure") { fleet.nodeFailures == [.notACluster] }
        // The log line follows the report.
        try await eventually("its remedy") { fleet.log.all.contains { $0.contains("remedy=set topology to ring") } }
        await fleet.stop()
        let cluster = try await RedisCluster(replicasPerPrimary: 0)
        let ring = try await Fleet(1, urls: cluster.urls, limit: Self.limit.get())
        try await eventually("the node failure") { ring.nodeFailures == [.isCluster] }
        try await eventually("its remedy") { ring.log.all.contains { $0.contains("remedy=set topology to cluster") } }
        await ring.stop()
    }
}
