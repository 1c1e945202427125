import Cistern
import CisternCluster
import CisternProcesses
import CisternSupport
import CisternTesting
import NIOCore
import Testing

@testable import CisternRedis

/// The script that divides all limits among servers, on a real Redis.
@Suite("Local fractions of all limits")
struct FractionScriptTests {
    private let redis: RedisServer
    /// One connection for all commands: a fraction expires within seconds, and starting a client may take as long.
    private let connection: Socket

    init() async throws {
        redis = try await RedisServer()
        connection = try Socket(port: redis.port)
    }

    private func nextRequest(
        _ server: String, held: Int64 = 0, sequence: UInt64, isLeaving: Bool = false
    ) async throws -> [Int64] {
        let nextRequest = FractionLease.Request(held: held, sequence: sequence)
        guard
            case .array(let fields) = try send(
                FractionScript.command(KeyNames(isTagged: false), server: server, nextRequest, isLeaving: isLeaving))
        else {
            return []
        }
        return fields.compactMap { if case .integer(let number) = $0 { number } else { nil } }
    }

    private func send(_ words: [[UInt8]]) throws -> RESPValue {
        var commands = RESPCommandBuffer()
        commands.append(command: words)
        try connection.send(commands.bytes)
        var reader = try RESPReader()
        while true {
            try reader.feed(ByteBuffer(bytes: try connection.receive()))
            if let reply = try reader.next() { return reply }
        }
    }

    /// Makes the hash so old that a server may be granted more than it holds.
    private func age() async throws {
        _ = try send(["HSET", "ratelimit:servers", "", "1"].map { Array($0.utf8) })
    }

    @Test("a lone server has the whole, and a joining server its fraction once the others have released it")
    func joins() async throws {
        try await age()
        #expect(try await nextRequest("a", sequence: 1) == [1_000_000, 1])
        #expect(try await nextRequest("b", sequence: 1) == [0, 2])
        // The first server learns of its half. The whole stays on record until the server reports the half as held.
        #expect(try await nextRequest("a", held: 1_000_000, sequence: 2) == [500_000, 2])
        #expect(try await nextRequest("b", sequence: 2) == [0, 2])
        #expect(try await nextRequest("a", held: 500_000, sequence: 3) == [500_000, 2])
        #expect(try await nextRequest("b", sequence: 3) == [500_000, 2])
        #expect(try await nextRequest("b", held: 500_000, sequence: 4, isLeaving: true) == [0, 1])
        #expect(try await nextRequest("a", held: 500_000, sequence: 4) == [1_000_000, 1])
    }

    @Test("after the hash is lost, no fraction grows until all earlier fractions must have expired")
    func startsOver() async throws {
        #expect(try await nextRequest("new", sequence: 1) == [0, 1])
        #expect(try await nextRequest("a", held: 333_333, sequence: 9) == [333_333, 2])
        #expect(try await nextRequest("a", held: 333_333, sequence: 10) == [333_333, 2])
        #expect(try await nextRequest("new", sequence: 2) == [0, 2])
        try await age()
        #expect(try await nextRequest("new", sequence: 3) == [500_000, 2])
    }

    @Test("a late request changes nothing")
    func ignoresLateRequests() async throws {
        try await age()
        #expect(try await nextRequest("a", sequence: 2) == [1_000_000, 1])
        #expect(try await nextRequest("a", held: 10, sequence: 1) == [])
        #expect(try await redis.command("HGET", "ratelimit:servers", "a").hasPrefix("1000000:"))
    }

    @Test("the fraction of a silent server expires, and an unreadable record is deleted")
    func lapses() async throws {
        try await age()
        try await redis.command("HSET", "ratelimit:servers", "gone", "700000:1:1", "odd", "x")
        #expect(try await nextRequest("a", sequence: 1) == [1_000_000, 1])
        #expect(try await redis.command("HLEN", "ratelimit:servers") == "2")
    }

    @Test("fractions never add up to more than the whole, whichever replies are lost", arguments: 1...10)
    func addsUp(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let servers = (0..<Int.random(in: 2...6, using: &random)).map { "server-\($0)" }
        // Each server's own view of its fraction, which may expire while a busy machine delays this test.
        let clock = ClockTimeSource(ContinuousClock())
        var leases: [String: FractionLease] = [:]
        try await age()
        func exchange(_ server: String, isLost: Bool) async throws {
            var lease = leases[server] ?? FractionLease()
            let sentAt = clock.now()
            let request = lease.nextRequest(now: sentAt)
            let answer = try await nextRequest(server, held: request.held, sequence: request.sequence)
            if !isLost { lease.grant(answer[0], sentAt: sentAt, clockDriftPerMille: 20) }
            leases[server] = lease
        }
        func sum() -> Int64 {
            let now = clock.now()
            return leases.values.reduce(0) { $0 + $1.held(now: now) }
        }
        for _ in 0..<60 {
            guard let server = servers.randomElement(using: &random) else { continue }
            if Int.random(in: 0..<12, using: &random) == 0 {
                // A server stops using its fraction before it releases it.
                guard let request = leases[server]?.nextRequest(now: clock.now()) else { continue }
                leases[server] = nil
                _ = try await nextRequest(server, held: request.held, sequence: request.sequence, isLeaving: true)
            } else {
                // A reply may be lost; then the server keeps its previous fraction.
                try await exchange(server, isLost: Int.random(in: 0..<4, using: &random) == 0)
            }
            #expect(sum() <= 1_000_000, "\(leases)")
        }
        try await eventually("equal fractions") {
            for server in servers { try await exchange(server, isLost: false) }
            let now = clock.now()
            return Set(leases.values.map { $0.held(now: now) }) == [1_000_000 / Int64(servers.count)]
        }
    }
}
