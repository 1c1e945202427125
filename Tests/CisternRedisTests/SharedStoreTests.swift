import Cistern
import CisternProcesses
import CisternRedis
import CisternTesting
import Configuration
import Foundation
import Logging
import Testing

/// `RateLimiter` with a store in Redis, as services use it.
@Suite("A limiter with Redis", .timeLimit(.minutes(2)))
struct SharedStoreTests {
    @Test(
        "a URL that is not valid, and URLs that form no store, are errors that name them",
        arguments: [
            ([], "name at least one node"), (["localhost:6379"], "it must start with redis:// or rediss://"),
            (["redis://:secret@/x"], "redis://***@/x"), (["redis://a", "redis://a"], "two nodes are named a:6379"),
        ])
    func wrongURLs(urls: [String], message: String) {
        let error = #expect(throws: (any Error).self) { try RateLimiter(limit: .standard, store: .redis(urls: urls)) }
        #expect(error.map { "\($0)" }?.contains(message) == true, "\(error.map { "\($0)" } ?? "")")
        #expect(error.map { "\($0)" }?.contains("secret") == false)
    }

    @Test("settings of the connections are validated")
    func wrongSettings() {
        func error(_ change: (inout RedisSettings) -> Void) -> String {
            var settings = RedisSettings()
            change(&settings)
            do {
                _ = try RateLimiter(limit: .standard, store: .redis("redis://127.0.0.1", settings: settings))
                return "none"
            } catch {
                return "\(error)"
            }
        }
        #expect(error { _ in } == "none")
        #expect(error { $0.connectTimeout = .zero } == "redisConnectTimeout is 0ms: use 10ms to 60000ms")
        #expect(error { $0.maximumPendingRequests = 0 } == "maxStoreRequests is 0: use 1 to 1000000")
        #expect(error { $0.longestRetry = .seconds(Int64.max) }.hasPrefix("redisLongestRetry is 9223372036854775807ms"))
    }

    @Test("two limiters for two purposes share nothing; two for one purpose share their buckets")
    func namespaces() async throws {
        let redis = try await RedisServer()
        let limit = try Limit.perHour(18, capacity: 10)
        func limiter(_ namespace: String) throws -> RateLimiter {
            var settings = LimiterSettings()
            settings.failurePolicy = .closed
            settings.lease.timeout = .seconds(1)
            return try RateLimiter(
                limit: limit, store: .redis(redis.url), namespace: namespace, settings: settings)
        }
        let (chats, uploads, others) = (try limiter("chats"), try limiter("uploads"), try limiter("uploads"))
        let remaining = try await chats.withRunning {
            try await uploads.withRunning {
                try await others.withRunning {
                    let decisions = [
                        try await chats.acquire("acme", cost: 7), try await uploads.acquire("acme", cost: 4),
                        try await others.acquire("acme", cost: 4), try await uploads.acquire("acme", cost: 4),
                    ]
                    return decisions.map { "\($0.outcome) \($0.remaining)" }
                }
            }
        }
        #expect(remaining == ["allowed 3", "allowed 6", "allowed 2", "denied 0"])
        let keys = try await redis.command("KEYS", "*").split(separator: "\n").filter { $0.hasSuffix(":tokens") }
        #expect(Set(keys) == ["chats:acme:tokens", "uploads:acme:tokens"])
    }

    @Test("two limiters of one process that share their buckets are warned of, once both run")
    func warning() async throws {
        let redis = try await RedisServer()
        let log = LogCounter()
        func limiter(_ namespace: String) throws -> RateLimiter {
            let logger = Logger(label: "test") { _ in LogCounter.Handler(counter: log) }
            return try RateLimiter(limit: .standard, store: .redis(redis.url, logger: logger), namespace: namespace)
        }
        let message = "two limiters of this process share their buckets"
        try await limiter("chats").withRunning { _ = try await limiter("uploads").withRunning {} }
        try await limiter("chats").withRunning {}
        #expect(log.count(message) == 0)
        try await limiter("chats").withRunning { _ = try await limiter("chats").withRunning {} }
        #expect(log.count(message) == 1)
    }

    @Test("the policy `local` needs no other switch: with Redis lost, the limiter admits its fraction of the limit")
    func localPolicy() async throws {
        let redis = try await RedisServer()
        var settings = LimiterSettings()
        settings.failurePolicy = .local
        settings.lease.duration = .milliseconds(200)
        settings.lease.horizon = .milliseconds(50)
        settings.lease.timeout = .milliseconds(100)
        let limiter = try RateLimiter(
            limit: .perSecond(1000, capacity: 1000), store: .redis(redis.url), settings: settings)
        try await limiter.withRunning {
            // A new hash of fractions grants none before those of an earlier one have expired.
            try await eventually("this server's fraction") {
                try await redis.command("HVALS", "ratelimit:servers").contains("1000000:")
            }
            try await redis.kill()
            try await eventually("a decision by the local fraction") {
                try await limiter.acquire("acme").outcome == .allowed && !limiter.nodeStates.allSatisfy(\.isReachable)
            }
            #expect(limiter.statistics.decisions.unmetered == 0)
        }
    }

    @Test("a Redis that does not reply in time is logged, because the policy then decides")
    func lateReplies() async throws {
        let redis = try await RedisServer()
        let log = LogCounter()
        let logger = Logger(label: "test") { _ in LogCounter.Handler(counter: log) }
        let limiter = try RateLimiter(limit: .standard, store: .redis(redis.url, logger: logger))
        try await limiter.withRunning {
            redis.pause()
            let decision = try await limiter.acquire("acme")
            #expect(decision.outcome == .unmetered)
            redis.resume()
        }
        #expect(log.count("Redis did not reply within the store timeout") == 1)
    }

    @Test("an unreachable Redis leaves decisions to the policy, and the node's state says why")
    func unreachable() async throws {
        var settings = LimiterSettings()
        settings.failurePolicy = .closed
        let limiter = try RateLimiter(
            limit: .standard, store: .redis("redis://127.0.0.1:\(try Socket.freePort())"), settings: settings)
        try await limiter.withRunning {
            let decision = try await limiter.acquire("acme")
            #expect(decision.outcome == .refused && decision.retryAfter == .seconds(1))
        }
        #expect(limiter.nodeStates.map(\.isReachable) == [false])
        #expect(limiter.nodeStates.first?.failure?.isEmpty == false)
    }

    @Test("a configuration describes the store; without redis there is none")
    func configuration() async throws {
        let redis = try await RedisServer()
        func reader(_ values: [AbsoluteConfigKey: ConfigValue]) -> ConfigReader {
            ConfigReader(provider: InMemoryProvider(values: values))
        }
        let url = ConfigValue(.string(redis.url), isSecret: true)
        let config = reader(["redis": url, "keyPrefix": "shop", "capacity": 5, "maxStoreRequests": 100])
        let limiter = try RateLimiter(config: config, store: .redis(config))
        #expect(limiter.namespace == "shop" && limiter.limits.standard.capacity == 5)
        try await limiter.withRunning { _ = try await limiter.acquire("acme") }
        #expect(try await redis.command("EXISTS", "shop:acme:tokens").contains("1"))
        #expect(try SharedStore.redis(reader([:])) == nil)
        for (name, value) in [("topology", "star"), ("maxStoreRequests", "0"), ("redisHeartbeat", "soon")] {
            let wrong = reader(["redis": url, AbsoluteConfigKey([name]): ConfigValue(.string(value), isSecret: false)])
            let error = #expect(throws: InvalidSetting.self) { try SharedStore.redis(wrong) }
            #expect(error?.name == name)
        }
        let error = #expect(throws: InvalidSetting.self) { try RateLimiter(config: reader(["keyPrefix": "a b"])) }
        #expect(error?.name == "keyPrefix")
    }
}
