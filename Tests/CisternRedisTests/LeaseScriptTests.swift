import Cistern
import CisternProcesses
import CisternSupport
import CisternTesting
import Foundation
import Logging
import NIOPosix
import Testing

@testable import CisternRedis

/// The lease script on a real redis-server.
///
/// The script uses Redis's clock, so these tests change the stored times instead: a bucket that was written an hour ago
/// looks as if an hour had passed. A busy machine may let many seconds pass between two steps of a test. Therefore the
/// refill in between is either less than a token or part of the expectation, up to the capacity.
@Suite("The lease script")
struct LeaseScriptTests {
    private let redis: RedisServer
    private let store: RedisStore
    private let clock = ClockTimeSource(ContinuousClock())
    /// A limit that refills one token in 1000 seconds, which is too slow to affect these tests.
    private let negligibleRefillLimit: Limit

    init() async throws {
        redis = try await RedisServer()
        negligibleRefillLimit = try Limit(capacity: 1000, refillPerSecond: 0.001)
        store = try RedisStore(
            endpoints: [RedisEndpoint(url: redis.url)], environment: StoreEnvironment(clock: clock),
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: Logger(label: "test"))
        await store.start()
    }

    /// Sends a lease request, by default for a limit that does not refill during a test.
    private func lease(
        _ waiting: Int, cost: Int = 1, requested: RequestedLease = .none, as lesseeID: String = "a",
        sequence: UInt64 = 1,
        acknowledged: UInt64? = nil, held: Int = 0, quiet: Int64 = 0, returned: Int = 0, duration: Int64 = 60_000,
        limit: Limit? = nil, key: String = "org"
    ) async throws -> Grant {
        let now = clock.now()
        let request = LeaseRequest(
            key: Array(key.utf8), limit: limit ?? negligibleRefillLimit, lesseeID: lesseeID, sequence: sequence,
            acknowledged: acknowledged ?? sequence - 1, held: held, millisecondsSinceLastSpend: quiet,
            halfSpentTokens: 0,
            halfSpentMilliseconds: 0, returned: returned,
            waiting: waiting == 0 ? [] : [WaitingRun(cost: cost, count: waiting)], requested: requested,
            durationMilliseconds: duration, sentAt: now, deadline: now.advanced(byMilliseconds: 10_000))
        return try await withCheckedThrowingContinuation { continuation in
            store.lease(request) { result, _ in continuation.resume(with: result) }
        }
    }

    /// Writes a bucket as another program would, and returns the time of its last refill.
    @discardableResult
    private func set(tokens: String, secondsAgo: Double = 0, key: String = "org") async throws -> Int64 {
        let time = Int64((Date().timeIntervalSince1970 - secondsAgo) * 1000)
        try await redis.command("SET", "ratelimit:\(key):tokens", tokens)
        try await redis.command("SET", "ratelimit:\(key):lastRefill", "\(time)")
        return time
    }

    /// When the script last refilled a key's bucket, in milliseconds since 1970.
    private func lastRefill(_ key: String = "org") async throws -> Int64 {
        try #require(Int64(try await redis.command("GET", "ratelimit:\(key):lastRefill")))
    }

    /// The time to live of one of a bucket's Redis keys, in seconds from the last request.
    ///
    /// Rounded to seconds: Redis may count from when it sets the key, a moment after the script read the clock.
    private func life(of field: String, _ key: String = "org") async throws -> Int64 {
        let redisKey = "ratelimit:\(key):\(field)"
        // The result of PEXPIRETIME, which only Redis 7 has.
        let script = "local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 + redis.call('PTTL', KEYS[1])"
        let expiry = try #require(Int64(try await redis.command("EVAL", script, "1", redisKey)))
        return try await (expiry - lastRefill(key) + 500) / 1000
    }

    /// The stored balance to the tenth of a token, rounded down.
    private func tokens() async throws -> Double {
        let text = try await redis.command("GET", "ratelimit:org:tokens")
        return (try #require(Double(text)) * 10).rounded(.down) / 10
    }

    /// The bucket as stored.
    private func bucket(_ key: String = "org") async throws -> StoreBucket {
        let text = try await redis.command("GET", "ratelimit:\(key):tokens")
        let time = try await redis.command("GET", "ratelimit:\(key):lastRefill")
        let leases = try RawRedis(port: redis.port).send("HGETALL", "ratelimit:\(key):leases")
        guard case .array(let words) = leases else { throw StoreBucketMissing() }
        let bytes = words.map { word in if case .bytes(let bytes) = word { bytes } else { [UInt8]() } }
        let fields = stride(from: 0, to: bytes.count, by: 2).map { (name: bytes[$0], value: bytes[$0 + 1]) }
        let bucket = StoreBucket(
            tokens: Array(text.utf8), lastRefill: Array(time.utf8), leases: fields, limit: negligibleRefillLimit,
            clock: .max / 2)
        return try #require(bucket)
    }

    private struct StoreBucketMissing: Error {}

    /// The sequence number and the tokens of a lessee's record; nil if there is none.
    private func record(_ lesseeID: String = "a") async throws -> [Int]? {
        try await bucket().records[lesseeID].map { [Int($0.sequence), $0.tokens] }
    }

    /// Changes a bucket as if some time had passed since its last use.
    private func age(_ key: String = "org", milliseconds: Int64) async throws {
        let script = """
            local header, last = redis.call('HGET', KEYS[2], ''), tonumber(redis.call('GET', KEYS[1]))
            local state = cmsgpack.unpack(header)
            state[5] = state[5] + ARGV[1]
            redis.call('HSET', KEYS[2], '', cmsgpack.pack(state))
            redis.call('SET', KEYS[1], string.format('%d', last - ARGV[1]))
            """
        try await redis.command(
            "EVAL", script, "2", "ratelimit:\(key):lastRefill", "ratelimit:\(key):leases", "\(milliseconds)")
    }

    @Test("the script treats a new bucket as full and grants the requested tokens")
    func newBucket() async throws {
        let grant = Grant(
            tokens: 30, held: 0, openUnits: 970_000_000, openRefillUnitsPerMillisecond: 1, outstanding: 30)
        #expect(try await lease(30) == grant)
        #expect(try await tokens() == 970)
        #expect(try await record() == [1, 30])
    }

    @Test("the script takes over a bucket that another program wrote, exact to the token")
    func takesOver() async throws {
        try await set(tokens: "75.3")
        #expect(try await lease(76).tokens == 75)
        #expect(try await tokens() == 0.3)
        try await set(tokens: "99.99999999999999", key: "o2")
        #expect(try await lease(100, key: "o2").tokens == 100)
        // 5.25 tokens, and 0.01 tokens per millisecond for three seconds and the duration of this test.
        let since = try await set(tokens: "5.25", secondsAgo: 3, key: "o3")
        let grant = try await lease(200, limit: .standard, key: "o3")
        #expect(grant.tokens == min(100, (525 + Int(try await lastRefill("o3") - since)) / 100))
        #expect(grant.tokens >= 35)
    }

    @Test("the script writes values that another program can read: a decimal, and milliseconds since 1970")
    func writesPlainly() async throws {
        try await set(tokens: "75.300001")
        _ = try await lease(1)
        let text = try await redis.command("GET", "ratelimit:org:tokens")
        #expect(text.wholeMatch(of: /[0-9]+\.[0-9]{1,6}/) != nil, "\(text)")
        #expect((74.300001...74.4).contains(try #require(Double(text))))
        let time = Double(try await lastRefill()) / 1000
        #expect(abs(time - Date().timeIntervalSince1970) < 60)
    }

    @Test(
        "the script creates no tokens from values that are not valid numbers",
        arguments: [("abc", 0), ("-5", 0), ("nan", 0), ("1e999", 1000), ("", 0)])
    func survivesGarbage(value: String, granted: Int) async throws {
        try await set(tokens: value)
        #expect(try await lease(1000).tokens == granted)
        try await redis.command("SET", "ratelimit:o2:tokens", "7")
        try await redis.command("SET", "ratelimit:o2:lastRefill", "yesterday")
        #expect(try await lease(10, key: "o2").tokens == 7)
    }

    @Test("the script keeps refilling after the clock is set back")
    func clockSetBack() async throws {
        try await set(tokens: "0", secondsAgo: -3600)
        #expect(try await lease(1, limit: .standard).tokens == 0)
        var sequence: UInt64 = 1
        try await eventually("a token") {
            sequence += 1
            return try await lease(1, sequence: sequence, limit: .standard).tokens == 1
        }
    }

    @Test("the script never lets the balance plus the outstanding tokens exceed the capacity")
    func capsRefill() async throws {
        let limit = try Limit(capacity: 100, refillPerSecond: 1000)
        #expect(try await lease(60, limit: limit).tokens == 60)
        // While 60 tokens are outstanding, half a minute of refill fills only the other 40.
        try await redis.command("SET", "ratelimit:org:tokens", "0")
        try await age(milliseconds: 30_000)
        let other = try await lease(100, as: "b", limit: limit)
        #expect(other.tokens == 40)
        // The first lessee now reports that it spent its tokens long ago, so their room has refilled, too.
        let grant = try await lease(100, sequence: 2, quiet: 3_000_000, limit: limit)
        #expect(grant.tokens == 60)
    }

    @Test("the script refills the room of tokens spent just now only from now on")
    func refillsFromTheLastSpend() async throws {
        let limit = try Limit(capacity: 100, refillPerSecond: 10)
        #expect(try await lease(100, limit: limit).tokens == 100)
        try await age(milliseconds: 30_000)
        #expect(try await lease(100, sequence: 2, quiet: 0, limit: limit).tokens == 0)
        try await age(milliseconds: 1000)
        let since = try await lastRefill()
        let granted = try await lease(100, sequence: 3, limit: limit).tokens
        #expect(granted == min(100, Int(try await lastRefill() - since) / 100))
        #expect(granted >= 10)
    }

    @Test("the script counts an expired lease as spent, and refills its room from the end of its slot")
    func expiry() async throws {
        let limit = try Limit(capacity: 100, refillPerSecond: 10)
        #expect(try await lease(100, as: "gone", duration: 2000, limit: limit).tokens == 100)
        try await age(milliseconds: 5000)
        let bucket = try await bucket()
        let ends = try #require(bucket.records["gone"]).endsMilliseconds - bucket.clockOffsetMilliseconds
        let granted = try await lease(100, as: "b", limit: limit).tokens
        #expect(granted == min(100, Int(try await lastRefill() - ends) / 100))
        #expect(granted >= 20)
        #expect(try await record("gone") == nil)
    }

    @Test("expired records go: after 2000 lessees but one have lapsed, a few are left within 100 calls")
    func expiredRecords() async throws {
        let lessees = 2000
        for number in 0..<lessees { _ = try await lease(0, as: "lessee-\(number)") }
        #expect(try await redis.command("HLEN", "ratelimit:org:leases") == "\(lessees + 1)")
        let peak = try await Int(redis.command("MEMORY", "USAGE", "ratelimit:org:leases", "SAMPLES", "0"))
        try await age(milliseconds: 70_000)
        for sequence in UInt64(1)...100 { _ = try await lease(0, as: "b", sequence: sequence, duration: 2000) }
        let left = try #require(try await Int(redis.command("HLEN", "ratelimit:org:leases")))
        #expect(left <= 6, "\(left)")
        let memory = try await Int(redis.command("MEMORY", "USAGE", "ratelimit:org:leases", "SAMPLES", "0"))
        #expect(try #require(memory) * 100 < (try #require(peak)), "\(String(describing: memory)) bytes")
    }

    @Test("the script credits returned tokens only once, and no more than are on record")
    func returnsTokens() async throws {
        _ = try await lease(50)
        _ = try await lease(0, sequence: 2, returned: 30)
        #expect(try await tokens() == 980)
        #expect(try await record() == [2, 0])
        // Repeated, late and excessive returns are not credited.
        for late in [UInt64(2), 1] {
            await #expect(throws: LeaseFailure.self) { try await lease(0, sequence: late, returned: 30) }
        }
        _ = try await lease(0, sequence: 3, returned: 999)
        #expect(try await tokens() == 980)
        _ = try await lease(10, sequence: 4)
        _ = try await lease(0, sequence: 5, returned: 999)
        #expect(try await tokens() == 980)
    }

    @Test("the script applies a request once, and never after a later one")
    func sequences() async throws {
        #expect(try await lease(10, sequence: 5).tokens == 10)
        for late in [UInt64(5), 4] {
            await #expect(throws: LeaseFailure.rejected("STALE a later request came first")) {
                try await lease(10, sequence: late)
            }
        }
        #expect(try await tokens() == 990)
        #expect(try await lease(10, as: "b", sequence: 1).tokens == 10)
    }

    @Test("the script keeps held tokens on record, and reports how many of them it knew of")
    func settles() async throws {
        _ = try await lease(50)
        let grant = try await lease(30, sequence: 2, held: 20)
        #expect(grant.tokens == 10 && grant.held == 20)
        #expect(grant.openUnits / 1_000_000 == 940)
        #expect(try await record() == [2, 30])
        let unknown = try await lease(1, as: "stranger", held: 20)
        #expect(unknown.held == 0)
    }

    @Test("the script grants prefetch tokens by weight, up to half of the capacity, and a small remainder as a whole")
    func shares() async throws {
        let requested = { (prefetchTokens: Int, weight: Int64) in
            RequestedLease(prefetchTokens: prefetchTokens, weight: weight)
        }
        // A lone lessee gets as many as it requests.
        #expect(try await lease(10, requested: requested(200, 3000)).tokens == 210)
        // A lessee with a quarter of the weight gets a quarter of the remaining 790.
        #expect(try await lease(0, requested: requested(300, 1000), as: "b").tokens == 197)
        // Prefetch stops when 500 tokens, half of the capacity, are outstanding. Now 407 tokens are.
        #expect(try await lease(0, requested: requested(400, 1_000_000), as: "c").tokens == 93)
        #expect(try await lease(0, requested: requested(400, 1_000_000), as: "d").tokens == 0)
        try await set(tokens: "20", key: "o2")
        _ = try await lease(5, requested: requested(0, 1000), key: "o2")
        #expect(try await lease(0, requested: requested(40, 1000), as: "b", key: "o2").tokens == 15)
    }

    @Test("the script makes trickle grants out of the refill of an empty bucket, by weight, and debits them at once")
    func trickleGrants() async throws {
        let limit = try Limit(capacity: 1000, refillPerSecond: 0.2)
        let requested = RequestedLease(prefetchTokens: 8, weight: 1000, trickleMilliseconds: 20_000, soloMultiplier: 2)
        try await set(tokens: "0")
        let alone = try await lease(0, requested: requested, limit: limit)
        #expect(alone.trickleTokens == 8 && alone.trickleMilliseconds == 40_000, "\(alone)")
        #expect(try await tokens() <= -7)
        // The whole refill is promised, so a second lessee gets neither tokens nor a trickle grant.
        let second = try await lease(1, requested: requested, as: "b", limit: limit)
        #expect(second.tokens == 0 && second.trickleTokens == 0 && second.openRefillUnitsPerMillisecond == 0)
        // With its next request, the first lessee gets only its part of the refill. The trickle grant ends with a slot:
        // up to an eighth later than requested.
        let again = try await lease(0, requested: requested, sequence: 2, returned: 8, limit: limit)
        #expect(again.trickleTokens == 2 && 20_000...22_500 ~= again.trickleMilliseconds, "\(again)")
        #expect(100...112 ~= again.openRefillUnitsPerMillisecond)
        let share = try await lease(0, requested: requested, as: "b", sequence: 2, limit: limit)
        #expect(share.trickleTokens == 2 && 0...24 ~= share.openRefillUnitsPerMillisecond, "\(share)")
    }

    @Test("the script takes back tokens that were granted in a reply that the lessee never saw")
    func unacknowledged() async throws {
        #expect(try await lease(0, requested: RequestedLease(prefetchTokens: 100, weight: 0)).tokens == 100)
        #expect(try await lease(50, sequence: 2, held: 60).tokens == 0)
        // Of the first 100 tokens, 40 are spent and 60 held. The reply to this request, with 30 more, is lost.
        #expect(try await lease(90, sequence: 3, held: 60).tokens == 30)
        #expect(try await lease(0, sequence: 4, acknowledged: 2, held: 55).held == 55)
        #expect(try await tokens() == 900)
        #expect(try await record() == [4, 55])
    }

    @Test("the script pays each request in full or not at all, out of the held tokens first")
    func paysInFull() async throws {
        try await set(tokens: "60")
        #expect(try await lease(1, cost: 80).tokens == 0)
        #expect(try await tokens() == 60)
        #expect(
            try await lease(3, cost: 25, requested: RequestedLease(prefetchTokens: 100, weight: 0), as: "b").tokens
                == 50)
        #expect(try await lease(1, cost: 7, as: "c").tokens == 7)
        // Three tokens are left. With five held tokens they pay a cost of eight; with one held token they pay nothing.
        #expect(try await lease(1, cost: 8, as: "c", sequence: 2, held: 5).tokens == 3)
        #expect(try await lease(1, cost: 8, as: "b", sequence: 2, held: 1).tokens == 0)
    }

    @Test("the script writes only documented Redis keys, each with a time to live long enough for the bucket to fill")
    func timesToLive() async throws {
        let slow = try Limit(capacity: 10_000, refillPerSecond: 1)
        _ = try await lease(1, duration: 2000, limit: .standard)
        _ = try await lease(1, duration: 2000, limit: slow, key: "slow")
        let keys = try await redis.command("--scan").split(separator: "\n").map(String.init).sorted()
        #expect(
            keys
                == ["org", "slow"].flatMap { name in
                    ["lastRefill", "leases", "tokens"].map { "ratelimit:\(name):\($0)" }
                })
        for field in ["tokens", "lastRefill", "leases"] {
            #expect(try await life(of: field, "org") == 60, "\(field)")
            #expect(try await life(of: field, "slow") == 20_000, "\(field)")
        }
    }

    @Test("keys live for the lease plus the time to fill, so that an expired bucket would be full anyway")
    func outlivesLeases() async throws {
        let limit = try Limit(capacity: 1000, refillPerSecond: 100)
        _ = try await lease(500, duration: 60_000, limit: limit)
        #expect(StoreBucket.timeToLiveMilliseconds(of: limit, leaseMilliseconds: 60_000) == 74_096)
        for field in ["tokens", "lastRefill", "leases"] {
            #expect(70...75 ~= (try await life(of: field)), "\(field)")
        }
    }

    @Test("the script conserves tokens over random steps: balance, leased tokens and spent tokens add up")
    func conservation() async throws {
        var random = SeededRandom(seed: 21)
        var held = ["a": 0, "b": 0, "c": 0]
        var sequence: UInt64 = 0
        var spent = 0
        for _ in 0..<1000 {
            let lesseeID = ["a", "b", "c"][Int.random(in: 0..<3, using: &random)]
            let before = held[lesseeID] ?? 0
            let used = Int.random(in: 0...before, using: &random)
            let returned = Int.random(in: 0...(before - used), using: &random)
            sequence += 1
            let grant = try await lease(
                Int.random(in: 0...3, using: &random), requested: RequestedLease(prefetchTokens: 3, weight: 0),
                as: lesseeID,
                sequence: sequence, held: before - used - returned, returned: returned, duration: 60_000)
            spent += used
            held[lesseeID] = before - used - returned + grant.tokens
            let total = Int(try await tokens()) + held.values.reduce(0, +) + spent
            // The limit refills one token in 1000 seconds, so one at most while this test runs.
            #expect((1000...1001).contains(total))
            if spent > 900 { break }
        }
        #expect(spent > 500)
    }
}
