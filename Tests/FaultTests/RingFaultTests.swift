import Cistern
import CisternProcesses
import CisternRedis
import CisternTesting
import Foundation
import Testing

/// Three real redis-servers on a ring, with traffic at two servers, and one of the three failing.
@Suite("A ring of three nodes under load", .serialized)
struct RingFaultTests {
    private static let limit = Result { try Limit(capacity: 200, refillPerSecond: 100) }
    private let organizations = (0..<30).map { "org-\($0)" }

    private func ring() async throws -> [RedisServer] {
        var nodes: [RedisServer] = []
        for _ in 0..<3 { nodes.append(try await RedisServer()) }
        return nodes
    }

    @Test("a node that dies affects only its own organizations, and is used again once it is back")
    func kill() async throws {
        let nodes = try await ring()
        let fleet = try await Fleet(urls: nodes.map(\.url), limit: Self.limit.get())
        let traffic = Traffic(fleet, organizations: organizations, perSecond: 2000)
        let isOfDead: (Traffic.Request) -> Bool = { fleet.partition(of: organizations[$0.key]) == 1 }
        try await traffic.goOn(for: 8000)
        let killedAt = fleet.clock.now()
        try await nodes[1].kill()
        try await eventually("both servers to notice") { fleet.reports.count { !$0.isUp } == 2 }
        let noticedAt = fleet.clock.now()
        try await traffic.goOn(for: 8000)
        let restartedAt = fleet.clock.now()
        let back = try await RedisServer(port: nodes[1].port)
        try await eventually("both servers to use it again") { fleet.areAllUp }
        let usedAt = fleet.clock.now()
        try await traffic.goOn(for: 8000)
        let report = try await traffic.stop()
        let others = report.filter { !isOfDead($0) }
        let dead = report.filter(isOfDead)
        print("killed one of three; the other two: \(others.summary)")
        print("killed one of three; its own: \(dead.summary)")
        print(
            "killed one of three: noticed after \((noticedAt.milliseconds - killedAt.milliseconds)) ms, "
                + "used again \(usedAt.milliseconds - restartedAt.milliseconds) ms after its restart")
        // The organizations of the other two nodes are unaffected.
        #expect(others.count(.unmetered) == 0 && others.count(.refused) == 0)
        #expect(others.peakOverAdmission <= 0)
        let before = others.during(Instant(nanoseconds: 0), killedAt).p99Milliseconds
        let after = others.during(killedAt, restartedAt).p99Milliseconds
        #expect(after <= max(2 * before, 5), "p99 \(before) ms before, \(after) ms while it was down")
        // The policy decides for the dead node's organizations at once, except for leased tokens.
        // Before and after, these organizations are metered.
        #expect(dead.slowestMilliseconds < 2 * 250)
        let down = dead.during(noticedAt, restartedAt)
        #expect(down.count(.unmetered) > 0 && down.count(.refused) == 0)
        #expect(dead.during(Instant(nanoseconds: 0), killedAt).count(.unmetered) == 0)
        let later = Instant(nanoseconds: usedAt.nanoseconds + 1_000_000_000)
        #expect(dead.during(later, Instant(nanoseconds: .max)).count(.unmetered) == 0)
        withExtendedLifetime(back) {}
        await fleet.stop()
    }

    @Test("a node that hangs costs the requests in flight one deadline, and later requests nothing")
    func hang() async throws {
        let nodes = try await ring()
        let fleet = try await Fleet(urls: nodes.map(\.url), limit: Self.limit.get(), policy: .closed)
        let traffic = Traffic(fleet, organizations: organizations, perSecond: 2000)
        try await traffic.goOn(for: 4000)
        nodes[1].process.signal(SIGSTOP)
        try await eventually("both servers to notice") { fleet.reports.count { !$0.isUp } == 2 }
        let noticedAt = fleet.clock.now()
        // The node is down before its pending requests fail, one after the other.
        try await traffic.goOn(for: 100)
        let timedOut = fleet.reports.reduce(0) { $0 + $1.statistics.timedOut }
        try await traffic.goOn(for: 4000)
        let resumedAt = fleet.clock.now()
        #expect(fleet.reports.reduce(0) { $0 + $1.statistics.timedOut } == timedOut)
        #expect(fleet.nodeFailures == [.timeout])
        nodes[1].process.signal(SIGCONT)
        try await eventually("both servers to use it again") { fleet.areAllUp }
        try await traffic.goOn(for: 4000)
        let report = try await traffic.stop()
        let ofHung = report.filter { fleet.partition(of: organizations[$0.key]) == 1 }
        let later = ofHung.during(noticedAt, resumedAt)
        // Requests in flight wait for one deadline, plus slack for a busy machine. Later requests do not wait.
        #expect(report.slowestMilliseconds < 2 * 250)
        #expect(later.slowestMilliseconds < 250)
        print("hung one of three: \(report.summary); its own while it hung: \(later.summary)")
        #expect(later.count(.refused) > 0 && report.count(.unmetered) == 0)
        #expect(report.peakOverAdmission <= 0)
        await fleet.stop()
    }

    @Test("a change of nodes or weights under load affects only the organizations that move")
    func changes() async throws {
        let nodes = try await ring()
        let fleet = try await Fleet(urls: nodes[..<2].map(\.url), limit: Self.limit.get())
        let traffic = Traffic(fleet, organizations: organizations, perSecond: 2000)
        try await traffic.goOn(for: 4000)
        let before = organizations.map { fleet.partition(of: $0) }
        func change(to urls: [String]) async throws {
            let endpoints = try urls.map { try RedisEndpoint(url: $0) }
            for server in fleet.servers {
                try await server.store.change(to: endpoints)
                await server.limiter.returnMovedLeases(clock: fleet.clock)
            }
            try await traffic.goOn(for: 4000)
            for server in fleet.servers { await server.store.dropLeavingNodes() }
        }
        try await change(to: nodes.map(\.url))
        let with = organizations.map { fleet.partition(of: $0) }
        let moved = organizations.indices.filter { before[$0] != with[$0] }
        #expect(!moved.isEmpty && moved.allSatisfy { with[$0] == 2 })
        // The tokens that were leased from the old bucket have been returned to it.
        for index in moved {
            let old = nodes[before[index]]
            let records = try RawRedis(port: old.port).leaseRecords("ratelimit:\(organizations[index]):leases")
            #expect(records.values.allSatisfy { $0.tokens == 0 }, "\(organizations[index]): \(records)")
        }
        try await change(to: [nodes[0].url, nodes[1].url + "?weight=3", nodes[2].url])
        let weighted = organizations.map { fleet.partition(of: $0) }
        for (old, new) in zip(with, weighted) where old != new { #expect(new == 1) }
        try await change(to: nodes[..<2].map(\.url))
        #expect(organizations.map { fleet.partition(of: $0) } == before)
        #expect(fleet.reports.count == 4)
        let report = try await traffic.stop()
        print("nodes come and go: \(report.summary)")
        #expect(report.count(.unmetered) == 0 && report.count(.refused) == 0)
        let stays = report.filter {
            before[$0.key] == weighted[$0.key] && !moved.contains($0.key)
        }
        #expect(stays.peakOverAdmission <= 0)
        await fleet.stop()
    }

    @Test("a new password takes effect without a failed request, and a wrong one is rejected")
    func newPassword() async throws {
        let redis = try await RedisServer()
        for (user, password) in [("old", "a"), ("new", "b")] {
            try await redis.command("ACL", "SETUSER", user, "on", ">\(password)", "~*", "+@all")
        }
        func url(_ credentials: String) -> String { "redis://\(credentials)@127.0.0.1:\(redis.port)" }
        let fleet = try await Fleet(urls: [url("old:a")], limit: Self.limit.get(), policy: .local)
        let traffic = Traffic(fleet, organizations: organizations, perSecond: 2000)
        try await traffic.goOn(for: 2000)
        for server in fleet.servers {
            await #expect(throws: RedisStore.UnusableNodes.self) {
                try await server.store.change(to: [RedisEndpoint(url: url("new:wrong"))])
            }
            try await server.store.change(to: [RedisEndpoint(url: url("new:b"))])
        }
        try await traffic.goOn(for: 2000)
        try await eventually("the old connections to be gone") {
            try await !redis.command("CLIENT", "LIST").contains("user=old")
        }
        let report = try await traffic.stop()
        print("new password: \(report.summary)")
        #expect(report.count(.unmetered) == 0 && report.count(.refused) == 0 && report.peakOverAdmission <= 0)
        // Closing the old connections did not release the servers' local fractions.
        #expect(try await redis.command("HLEN", "ratelimit:servers") == "3")
        await fleet.stop()
    }

    @Test("ten thousand organizations lease from a recovered node a few at a time")
    func stampede() async throws {
        let redis = try await RedisServer()
        let record = GrantLog()
        let fleet = try await Fleet(1, urls: [redis.url], limit: Self.limit.get(), record: record)
        try await redis.kill()
        try await eventually("the node to be down") { !fleet.areAllUp }
        let traffic = Traffic(
            fleet, organizations: (0..<10_000).map { "org-\($0)" }, perSecond: 20_000)
        try await traffic.goOn(for: 10_000)
        let back = try await RedisServer(port: redis.port)
        try await eventually("the node to be up") { fleet.areAllUp }
        try await eventually("a thousand organizations to have leased") {
            record.all.count(where: \.isSuccess) > 1000
        }
        let report = try await traffic.stop()
        let answered = record.all.filter(\.isSuccess)
        let first = try #require(answered.map(\.sentAt).min())
        let early = answered.count { $0.answeredAt < first.advanced(byMilliseconds: 100) }
        print("stampede: \(early) requests answered in the first 100 ms, \(answered.count) in all; \(report.summary)")
        #expect(early <= 1000)
        withExtendedLifetime(back) {}
        await fleet.stop()
    }
}
