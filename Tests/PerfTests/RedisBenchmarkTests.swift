import CisternTesting
import Foundation
import Testing

@testable import Perf

@Suite("What redis-benchmark is made to do")
struct RedisBenchmarkTests {
    @Test("each of its calls leases one token, whoever the lessee is")
    func leases() async throws {
        let redis = try await RedisServer()
        let digest = try await redis.command("SCRIPT", "LOAD", RedisBenchmark.script)
        for lesseeID in ["1", "2", "3"] {
            let words = RedisBenchmark.command(digest: digest, range: 10)
            let grant = try await redis.command(words.dropLast() + [lesseeID]).split(separator: "\n")
            #expect(grant.first == "1", "\(grant)")
        }
        // The last one's, and what has spilled.
        let leases = RedisBenchmark.command(digest: digest, range: 10)[5]
        #expect(try await redis.command("HLEN", leases) == "2")
    }

    @Test("it goes through to the end without an error, and Redis's count of its calls is read")
    func runs() async throws {
        let benchmark = RedisBenchmark(nodes: 2, depth: 16, organizations: 100, seconds: 0.5)
        #expect(try await benchmark.run() > 0)
    }
}
