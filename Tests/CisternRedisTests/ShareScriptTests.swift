import Cistern
import CisternTesting
import Testing

@testable import CisternRedis

/// The script that shares all limits between servers, on a real Redis.
@Suite("Shares of all limits")
struct ShareScriptTests {
    private let redis: RedisServer

    init() async throws {
        redis = try await RedisServer()
    }

    private func ask(_ server: String, held: Int64 = 0, isLeaving: Bool = false) async throws -> [Int64] {
        let words = ShareScript.command(server: server, held: held, isLeaving: isLeaving)
        let answer = try await redis.command(words.map { String(decoding: $0, as: UTF8.self) })
        return answer.split(separator: "\n").compactMap { Int64($0) }
    }

    @Test("a server alone has all, one that joins has its part once the others have given it up")
    func joins() async throws {
        #expect(try await ask("a") == [1_000_000, 1])
        #expect(try await ask("b") == [0, 2])
        // The first learns of its half; its whole stays on record until it says that it holds the half.
        #expect(try await ask("a", held: 1_000_000) == [500_000, 2])
        #expect(try await ask("b") == [0, 2])
        #expect(try await ask("a", held: 500_000) == [500_000, 2])
        #expect(try await ask("b") == [500_000, 2])
        #expect(try await ask("b", held: 500_000, isLeaving: true) == [0, 1])
        #expect(try await ask("a", held: 500_000) == [1_000_000, 1])
    }

    @Test(
        "a server that falls silent gives its part up when it lapses, and a record that cannot be read counts for nothing"
    )
    func lapses() async throws {
        try await redis.command("HSET", "ratelimit:servers", "gone", "700000:1", "odd", "x")
        #expect(try await ask("a") == [1_000_000, 1])
        #expect(try await redis.command("HLEN", "ratelimit:servers") == "1")
    }

    @Test("parts never add up to more than the whole, whatever answers are lost", arguments: 1...10)
    func addsUp(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let servers = (0..<Int.random(in: 2...6, using: &random)).map { "server-\($0)" }
        // What each server holds, as it would count it; its parts lapse while a busy machine lets this wait.
        let clock = Timeline(ContinuousClock())
        var leases: [String: ShareLease] = [:]
        func exchange(_ server: String, isLost: Bool) async throws {
            var lease = leases[server] ?? ShareLease()
            let sentAt = clock.now()
            let answer = try await ask(server, held: lease.held(now: sentAt))
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
                // It stops using its part before it gives it up.
                let held = leases.removeValue(forKey: server)?.held(now: clock.now()) ?? 0
                _ = try await ask(server, held: held, isLeaving: true)
            } else {
                // An answer may be lost: then the server goes on with what it had.
                try await exchange(server, isLost: Int.random(in: 0..<4, using: &random) == 0)
            }
            #expect(sum() <= 1_000_000, "\(leases)")
        }
        try await eventually("equal parts") {
            for server in servers { try await exchange(server, isLost: false) }
            let now = clock.now()
            return Set(leases.values.map { $0.held(now: now) }) == [1_000_000 / Int64(servers.count)]
        }
    }
}
