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

    @Test(
        "garbage in the lease records neither lifts the limit nor locks the bucket",
        arguments: [
            "garbage", "", "1:50:99:99:99:99:50:99:0", String(repeating: "x", count: 80),
            String(repeating: "x", count: 88), String(repeating: "\u{1}", count: 800),
        ])
    func records(record: String) async throws {
        let redis = try await RedisServer()
        let limit = try Limit(capacity: 50, refillPerSecond: 0.001)
        try await redis.command("HSET", "ratelimit:acme:leases", "x", record, "", record, "server-1", record)
        let (limiter, store) = try await limiter(redis, lesseeID: "server-1", limit: limit)
        var allowed = 0
        for _ in 0..<80 where await limiter.decide("acme", now: clock.now()).isAllowed { allowed += 1 }
        #expect(allowed == 50, "\(record)")
        #expect(try await redis.command("HKEYS", "ratelimit:acme:leases").split(separator: "\n") == ["server-1"])
        #expect(log.count("Redis lost a part of a bucket") == 1)
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

    /// What can happen to one of a bucket's Redis keys alone: a command without the name of the Redis key.
    private static let damages = [
        ["DEL"], ["SET", "garbage"], ["SET", "1e300"], ["SET", ""], ["PERSIST"], ["EXPIRE", "100000"],
    ]

    @Test(
        "one of a bucket's Redis keys that is lost or overwritten costs at most the outstanding tokens, once",
        arguments: KeyNames.fields, damages)
    func oneKeyDamaged(field: String, damage: [String]) async throws {
        let redis = try await RedisServer()
        let limit = try Limit(capacity: 1000, refillPerSecond: 0.001)
        let (limiter, store) = try await limiter(redis, lesseeID: "server-1", limit: limit)
        func take(_ count: Int, of key: String = "acme") async -> Int {
            var allowed = 0
            for _ in 0..<count where await limiter.decide(key, now: clock.now()).isAllowed { allowed += 1 }
            return allowed
        }
        #expect(await take(900) == 900)
        #expect(await take(990, of: "other") == 990)
        let outstanding = limiter.outstandingTokens("acme".utf8.span)
        func damageKey() async throws {
            for wrongType in [false, true] {
                let key = "ratelimit:acme:\(field)"
                // A value of another type can only be written in place of the old one.
                if wrongType { try await redis.command("DEL", key) }
                try await redis.command(
                    wrongType ? ["LPUSH", key, "x"] : [damage[0], key] + damage.dropFirst())
                if !wrongType { #expect(await take(10) == 10) }
            }
        }
        try await damageKey()
        let left = await take(500)
        #expect(90...90 + outstanding ~= left, "\(left)")
        #expect(await take(100, of: "other") == 10)
        #expect(store.reports[0].isUp && store.reports[0].statistics.rejected == 0)
        #expect(log.count("Redis lost a part of a bucket") == 1)
        // The bucket has healed: all three Redis keys are there again, and say the same.
        let balance = try await redis.command("GET", "ratelimit:acme:tokens")
        #expect(try #require(Double(balance)) < 1, "\(balance)")
        #expect(try await redis.command("TYPE", "ratelimit:acme:leases") == "hash")
        #expect(Int(try await redis.command("PTTL", "ratelimit:acme:\(field)")) ?? -1 > 0)
        await store.stop()
    }

    @Test("leases that claim more tokens than exist neither lift the limit nor take the node out of use")
    func tooManyTokens() async throws {
        let redis = try await RedisServer()
        let limit = try Limit(capacity: 50, refillPerSecond: 0.001)
        let (limiter, store) = try await limiter(redis, lesseeID: "server-1", limit: limit)
        for _ in 0..<5 { #expect(await limiter.decide("acme", now: clock.now()).isAllowed) }
        // An expiry slot of 10^12 tokens, and a trickle slot that promises as many, both for an hour.
        let script = """
            local state = cmsgpack.unpack(redis.call('HGET', KEYS[1], ''))
            local ends = state[4] + 3600000
            state[11] = 2
            for _, number in ipairs({ ends, 1e12, 1, 1, ends, 1e12 }) do state[#state + 1] = number end
            redis.call('HSET', KEYS[1], '', cmsgpack.pack(state))
            """
        try await redis.command("EVAL", script, "1", "ratelimit:acme:leases")
        for _ in 0..<20 { #expect(await limiter.decide("acme", now: clock.now()).outcome == .denied) }
        #expect(store.reports[0].isUp)
        #expect(await limiter.decide("other", now: clock.now()).isAllowed)
        await store.stop()
    }
}
