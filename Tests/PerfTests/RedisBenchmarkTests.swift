import CisternProcesses
import CisternTesting
import Foundation
import Testing

@testable import Perf

@Suite("The workload of redis-benchmark")
struct RedisBenchmarkTests {
    @Test("each call leases one token, for any lessee")
    func leases() async throws {
        let redis = try await RedisServer()
        let digest = try await redis.command("SCRIPT", "LOAD", RedisBenchmark.script)
        for lesseeID in ["1", "2", "3"] {
            let words = RedisBenchmark.command(digest: digest, range: 10)
            let grant = try await redis.command(words.dropLast() + [lesseeID]).split(separator: "\n")
            #expect(grant.first == "1", "\(grant)")
        }
        // The record of the last lessee, and the nameless field, which holds the overflow.
        let leases = RedisBenchmark.command(digest: digest, range: 10)[5]
        #expect(try await redis.command("HLEN", leases) == "2")
    }

    @Test("redis-benchmark runs to its end without an error, and Redis counts its calls")
    func runs() async throws {
        let benchmark = RedisBenchmark(nodes: 2, depth: 16, organizations: 100, seconds: 0.5)
        #expect(try await benchmark.run() > 0)
    }
}
