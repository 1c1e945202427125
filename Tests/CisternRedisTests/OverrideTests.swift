import Cistern
import CisternCluster
import CisternProcesses
import CisternTesting
import InMemoryTracing
import Logging
import NIOPosix
import Testing
import Tracing

@testable import CisternRedis

/// Overrides of limits on real nodes.
@Suite("Overrides on the nodes of a store")
struct OverrideTests {
    private let clock = ClockTimeSource(ContinuousClock())

    /// One server's view of some nodes; keeps their processes alive.
    private struct Server {
        let nodes: [RedisServer]
        let store: RedisStore
        let copies: OverrideCopies
    }

    private let script = OverrideScript(names: KeyNames(isTagged: false))

    private func server(_ nodes: [RedisServer]) async throws -> Server {
        let store = try RedisStore(
            endpoints: nodes.map { try RedisEndpoint(url: $0.url) }, environment: StoreEnvironment(clock: clock),
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: Logger(label: "test"))
        await store.start()
        return Server(
            nodes: nodes, store: store, copies: store.overrideCopies)
    }

    private func nodes(_ count: Int) async throws -> [RedisServer] {
        var nodes: [RedisServer] = []
        for _ in 0..<count { nodes.append(try await RedisServer()) }
        return nodes
    }

    private func inForce(_ copies: OverrideCopies) async throws -> [String: Limit] {
        await copies.synchronize()
        let now = try #require(await copies.nowMilliseconds)
        return await copies.overrides.inForce(atMilliseconds: now)
    }

    private let limit = Limit.standard

    @Test("an override that one server sets or removes reaches the others at their next synchronization")
    func shared() async throws {
        let nodes = try await nodes(3)
        let (one, other) = (try await server(nodes), try await server(nodes))
        let entry = try await one.copies.set(limit, of: "org", timeToLiveMilliseconds: nil, by: "alice")
        #expect(entry.setBy == "alice" && entry.expiresAtMilliseconds == nil)
        #expect(try await inForce(other.copies) == ["org": limit])
        for node in nodes { #expect(try await node.command("HLEN", "ratelimit:{overrides}") == "1") }
        _ = try await other.copies.set(nil, of: "org", timeToLiveMilliseconds: nil, by: "bob")
        #expect(try await inForce(one.copies) == [:])
        await one.store.stop()
        await other.store.stop()
    }

    @Test("an override ends at its expiry time, by the clock of the nodes")
    func ends() async throws {
        let server = try await server(try await nodes(1))
        _ = try await server.copies.set(limit, of: "org", timeToLiveMilliseconds: 4000, by: "alice")
        #expect(try await inForce(server.copies).count == 1)
        try await eventually("the override to end") { try await inForce(server.copies).isEmpty }
        await server.store.stop()
    }

    @Test("a node that returns without its data gets all overrides, including those that were set meanwhile")
    func repaired() async throws {
        let nodes = try await nodes(2)
        let server = try await server(nodes)
        _ = try await server.copies.set(limit, of: "org-1", timeToLiveMilliseconds: nil, by: "alice")
        try await nodes[1].kill()
        try await eventually("the node to be down") { server.store.reports.contains { !$0.isUp } }
        _ = try await server.copies.set(limit, of: "org-2", timeToLiveMilliseconds: nil, by: "alice")
        let back = try await RedisServer(port: nodes[1].port)
        try await eventually("the node to be up") { server.store.reports.allSatisfy(\.isUp) }
        try await eventually("the node to have both") {
            await server.copies.synchronize()
            return try await back.command("HLEN", "ratelimit:{overrides}") == "2"
        }
        // A server that uses only this node sees both, too.
        let alone = try await self.server([back])
        #expect(try await inForce(alone.copies).count == 2)
        await server.store.stop()
        await alone.store.stop()
    }

    @Test("the override that was set later wins on a node, whichever write arrives last")
    func lastWriterWins() async throws {
        let nodes = try await nodes(1)
        let server = try await server(nodes)
        await server.copies.synchronize()
        let now = try #require(await server.copies.nowMilliseconds)
        let early = LimitOverrides.Entry(
            limit: limit, setAtMilliseconds: now - 1000, expiresAtMilliseconds: nil, setBy: "a")
        let late = LimitOverrides.Entry(limit: nil, setAtMilliseconds: now, expiresAtMilliseconds: nil, setBy: "b")
        for entry in [late, early] {
            for holder in server.store.nodes.overrideHolders {
                _ = await holder.ask(script.write(["org": entry]))
            }
        }
        await server.copies.synchronize()
        #expect(await server.copies.overrides.entries == ["org": late])
        for holder in server.store.nodes.overrideHolders {
            #expect(try await holder.ask(script.write(["org": early])).get() == .integer(0))
        }
        await server.store.stop()
    }

    @Test("servers that set the same override at the same time converge")
    func writers() async throws {
        let nodes = try await nodes(2)
        let servers = [try await server(nodes), try await server(nodes)]
        for round in 0..<10 {
            await withTaskGroup(of: Void.self) { group in
                for (index, server) in servers.enumerated() {
                    group.addTask {
                        let limit = try? Limit(capacity: 2 * round + index + 1, refillPerSecond: 1)
                        _ = try? await server.copies.set(limit, of: "org", timeToLiveMilliseconds: nil, by: "\(index)")
                    }
                }
            }
            var agreed: [String: Limit] = [:]
            try await eventually("both to agree") {
                agreed = try await inForce(servers[0].copies)
                return try await inForce(servers[1].copies) == agreed
            }
            #expect([2 * round + 1, 2 * round + 2].contains(agreed["org"]?.capacity ?? 0))
        }
        for server in servers { await server.store.stop() }
    }

    @Test("a read that finds no change transfers no overrides")
    func looksAreShort() async throws {
        let nodes = try await nodes(1)
        let server = try await server(nodes)
        _ = try await server.copies.set(limit, of: "org", timeToLiveMilliseconds: nil, by: "alice")
        await server.copies.synchronize()
        let version = try await nodes[0].command("GET", "ratelimit:{overrides}:version")
        for holder in server.store.nodes.overrideHolders {
            let reply = try await holder.ask(script.read(since: version)).get()
            let reading = try #require(OverrideScript.Reading(reply))
            #expect(reading.overrides == nil && reading.version == version)
        }
        await server.store.stop()
    }

    @Test("setting an override fails with an error if no node is reachable")
    func nobodyThere() async throws {
        let nodes = try await nodes(1)
        let server = try await server(nodes)
        await server.copies.synchronize()
        try await nodes[0].kill()
        try await eventually("the node to be down") { server.store.reports.contains { !$0.isUp } }
        await #expect(throws: OverrideCopies.Failure.self) {
            try await server.copies.set(limit, of: "org", timeToLiveMilliseconds: nil, by: "alice")
        }
        #expect(await server.copies.overrides.entries.isEmpty)
        await server.store.stop()
    }

    @Test("ten thousand overrides with long names are read in one reply")
    func many() async throws {
        let server = try await server(try await nodes(1))
        let entry = LimitOverrides.Entry(
            limit: limit, setAtMilliseconds: 1_800_000_000_000, expiresAtMilliseconds: 1_900_000_000_000,
            setBy: String(repeating: "w", count: 64))
        let pad = String(repeating: "x", count: 122)
        for start in stride(from: 0, to: LimitOverrides.maximumCount, by: 1000) {
            let names = (start..<start + 1000).map { "\(100_000 + $0)\(pad)" }
            let entries = Dictionary(uniqueKeysWithValues: names.map { ($0, entry) })
            for holder in server.store.nodes.overrideHolders {
                _ = try await holder.ask(script.write(entries)).get()
            }
        }
        #expect(try await inForce(server.copies).count == LimitOverrides.maximumCount)
        #expect(server.store.reports.count { !$0.isUp } == 0)
        await server.store.stop()
    }

    @Test("a store call has a span with its organization, its granted tokens and its error")
    func traced() throws {
        let tracer = InMemoryTracer()
        let tracing = StoreTracing(tracer)
        let store = ScriptedStore()
        let limiter = RateLimiterEngine(limits: Limits(), store: store, lesseeID: "server-1", seed: 1)
        let now = clock.now()
        _ = limiter.decide("org-1".utf8.span, cost: 3, now: now) { _ in }
        let request = try #require(store.next)
        tracing.traced(request) { _, _ in }(.success(.plain(3, openUnits: 0)), now)
        tracing.traced(request) { _, _ in }(.failure(.timedOut), now)
        let spans = tracer.finishedSpans
        #expect(spans.map(\.operationName) == ["cistern.lease", "cistern.lease"])
        #expect(spans.first?.attributes["cistern.organization"]?.toSpanAttribute() == .string("org-1"))
        #expect(spans.first?.attributes["cistern.tokens.granted"]?.toSpanAttribute() == .int64(3))
        #expect(spans.last?.status?.code == .error && spans.last?.errors.count == 1)
    }
}
