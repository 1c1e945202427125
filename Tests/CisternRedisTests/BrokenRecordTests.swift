import Cistern
import CisternProcesses
import CisternTesting
import Foundation
import Logging
import NIOPosix
import Testing

@testable import CisternRedis

/// A bucket is repaired within a lease's duration whatever its three Redis keys contain, and the limit holds.
@Suite("Buckets that another program has corrupted")
struct BrokenRecordTests {
    private let clock = ClockTimeSource(ContinuousClock())
    private let log = LogCounter()

    private func limiter(_ redis: RedisServer, lesseeID: String, limit: Limit) async throws -> (
        RateLimiterEngine, RedisStore
    ) {
        let log = log
        let store = try RedisStore(
            endpoints: [RedisEndpoint(url: redis.url)], environment: StoreEnvironment(clock: clock),
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton,
            logger: Logger(label: "test") { _ in LogCounter.Handler(counter: log) })
        await store.start()
        var settings = LimiterSettings()
        settings.failurePolicy = .closed
        settings.lease.timeoutMilliseconds = 1000
        let limiter = RateLimiterEngine(
            limits: Limits(standard: limit), store: store, lesseeID: lesseeID, settings: settings, seed: 1)
        return (limiter, store)
    }

    private static let future = 115_292_150_460_684

    @Test(
        "garbage in the lease records neither lifts the limit nor locks the bucket",
        arguments: [
            "1:50:\(future):\(future):\(future):\(future):50:\(future):0", "1:50:\(future):0:1000:\(future):50:0:0",
            "1:999999999999:\(future):0:0:0:0:\(future):0", "1:50:0:0:0:0:0:0:99999999999999999999999999999",
            "garbage", "", ":::::::::", "1:2:3", "-1:-2:-3:-4:-5:-6:-7:-8:-9", "1e9:1:1:1:1:1:1:1:1",
            "1:0:\(future):0:1000000:\(future):0:1:1", "999999999999999999999:1:1:1:1:1:1:1:1", "nan:inf:0:0:0:0:0:0:0",
        ])
    func records(record: String) async throws {
        let redis = try await RedisServer()
        let limit = try Limit(capacity: 50, refillPerSecond: 0.001)
        try await redis.command("HSET", "ratelimit:acme:leases", "x", record, "y\u{1}", record)
        let (limiter, store) = try await limiter(redis, lesseeID: "server-1", limit: limit)
        var allowed = 0
        for _ in 0..<80 where await limiter.decide("acme", now: clock.now()).isAllowed { allowed += 1 }
        // A plausible record may hold tokens until it ends, after a lease's duration at most.
        #expect(allowed == 50, "\(record)")
        let left = try await redis.command("HKEYS", "ratelimit:acme:leases")
        #expect(!left.contains("x") && !left.contains("y"), "\(left)")
        #expect(log.count("no server wrote") == 1)
        await store.stop()
    }

    @Test(
        "garbage in the other keys counts as an empty or a full bucket, and is replaced",
        arguments: ["abc", "1e400", "-1e400", "nan", "0x10", " ", "\u{1}", "99999999999999999999", ""])
    func values(value: String) async throws {
        let redis = try await RedisServer()
        let limit = try Limit(capacity: 50, refillPerSecond: 100)
        try await redis.command("SET", "ratelimit:acme:tokens", value)
        try await redis.command("SET", "ratelimit:acme:lastRefill", value)
        try await redis.command("HSET", "ratelimit:acme:leases", "", value)
        let (limiter, store) = try await limiter(redis, lesseeID: "server-1", limit: limit)
        try await eventually("an allowed request") {
            await limiter.decide("acme", now: clock.now()).outcome == .allowed
        }
        let text = try await redis.command("GET", "ratelimit:acme:tokens")
        #expect(try #require(Double(text)) <= 50)
        let time = try #require(Double(try await redis.command("GET", "ratelimit:acme:lastRefill")))
        #expect(abs(time / 1000 - Date().timeIntervalSince1970) < 60)
        await store.stop()
    }

    @Test("a deleted balance is restored from its copy, and deleted leases cost at most the leased tokens")
    func oneKeyDeleted() async throws {
        let redis = try await RedisServer()
        let limit = try Limit(capacity: 1000, refillPerSecond: 0.001)
        let (limiter, store) = try await limiter(redis, lesseeID: "server-1", limit: limit)
        func take(_ count: Int) async -> Int {
            var allowed = 0
            for _ in 0..<count where await limiter.decide("acme", now: clock.now()).isAllowed { allowed += 1 }
            return allowed
        }
        #expect(await take(900) == 900)
        for key in ["tokens", "lastRefill", "tokens"] {
            try await redis.command("DEL", "ratelimit:acme:\(key)")
            #expect(await take(10) == 10)
        }
        try await redis.command("DEL", "ratelimit:acme:leases")
        // 930 of 1000 tokens are spent, which the balance shows even without the leases.
        #expect(await take(500) == 70)
        await store.stop()
    }

    @Test("records that claim more tokens than exist neither lift the limit nor take the node out of use")
    func tooManyTokens() async throws {
        let redis = try await RedisServer()
        let limit = try Limit(capacity: 50, refillPerSecond: 0.001)
        let (limiter, store) = try await limiter(redis, lesseeID: "server-1", limit: limit)
        for _ in 0..<5 { #expect(await limiter.decide("acme", now: clock.now()).isAllowed) }
        let now = Int64(Date().timeIntervalSince1970 * 1000)
        for number in 0..<12 {
            try await redis.command(
                "HSET", "ratelimit:acme:leases", "x\(number)", "1:1000000000:\(now + 60_000):0:0:\(now):0:\(now):0")
        }
        try await redis.command("SET", "ratelimit:acme:tokens", "-1e400")
        for _ in 0..<20 { #expect(await limiter.decide("acme", now: clock.now()).outcome == .denied) }
        #expect(store.reports[0].isUp)
        #expect(await limiter.decide("other", now: clock.now()).isAllowed)
        await store.stop()
    }

    @Test("a false sequence number in a server's own record has no effect once the record has ended")
    func falseSequence() async throws {
        let redis = try await RedisServer()
        let limit = try Limit(capacity: 50, refillPerSecond: 100)
        let now = Int64(Date().timeIntervalSince1970 * 1000)
        try await redis.command(
            "HSET", "ratelimit:acme:leases", "server-1", "9999999999999999:0:\(now - 1000):0:0:0:0:\(now - 3000):0")
        let (limiter, store) = try await limiter(redis, lesseeID: "server-1", limit: limit)
        #expect(await limiter.decide("acme", now: clock.now()).isAllowed)
        await store.stop()
    }

    @Test("a foreign record with a trickle grant of a minute does not lift the limit")
    func longTrickle() async throws {
        let redis = try await RedisServer()
        let limit = try Limit(capacity: 200, refillPerSecond: 0.001)
        let now = Int64(Date().timeIntervalSince1970 * 1000)
        try await redis.command(
            "HSET", "ratelimit:acme:leases", "dead", "1:100:\(now + 60_000):100000:100000:\(now + 60_000):100:\(now):0")
        let (limiter, store) = try await limiter(redis, lesseeID: "server-1", limit: limit)
        var allowed = 0
        for _ in 0..<600 where await limiter.decide("acme", now: clock.now()).isAllowed { allowed += 1 }
        #expect(allowed <= 200)
        await store.stop()
    }
}
