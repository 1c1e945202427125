import Cistern
import CisternProcesses
import CisternSupport
import CisternTesting
import Foundation
import Logging
import NIOPosix
import Testing

@testable import CisternRedis

/// The lease script in Redis and its Swift twin give the same replies after any sequence of requests.
@Suite("The script and its Swift twin")
struct LeaseTwinTests {
    /// Returns the time of the last step, the tokens and the leases, then moves all stored times back.
    ///
    /// To the lease script, the given number of milliseconds then seems to have passed.
    private static let warp = """
        local by = tonumber(ARGV[1])
        local last, tokens = redis.call('GET', KEYS[2]), redis.call('GET', KEYS[1])
        local records = redis.call('HGETALL', KEYS[3])
        local text = last .. '\\n' .. tokens
        for i = 1, #records, 2 do
          text = text .. '\\n' .. records[i] .. ' ' .. records[i + 1]
          local f = {}
          for field in string.gmatch(records[i + 1], '%d+') do f[#f + 1] = tonumber(field) end
          if #f == 9 then
            redis.call('HSET', KEYS[3], records[i], string.format('%d:%d:%d:%d:%d:%d:%d:%d:%d', f[1], f[2], f[3] - by,
              f[4], f[5], math.max(0, f[6] - by), f[7], f[8] - by, f[9]))
          end
        end
        redis.call('SET', KEYS[2], string.format('%d', tonumber(last) - by))
        return text
        """

    @Test("both give the same replies to seeded sequences of requests, and store the same state", arguments: 1...8)
    func agree(seed: UInt64) async throws {
        let redis = try await RedisServer()
        let clock = ClockTimeSource(ContinuousClock())
        let store = try RedisStore(
            endpoints: [RedisEndpoint(url: redis.url)], environment: StoreEnvironment(clock: clock),
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: Logger(label: "test"))
        await store.start()
        var random = SeededRandom(seed: seed)
        for sequence in 0..<10 {
            try await compare(on: redis, store: store, clock: clock, key: "org-\(sequence)", random: &random)
        }
        await store.stop()
    }

    private func compare(
        on redis: RedisServer, store: RedisStore, clock: some TimeSource, key: String,
        random: inout SeededRandom
    ) async throws {
        let limits = [(5, 600.0), (20, 10), (100, 10), (1000, 1000), (1_000_000_000, 1_000_000_000), (1000, 0.001)]
        let (capacity, refill) = limits[Int.random(in: 0..<limits.count, using: &random)]
        let limit = try Limit(capacity: capacity, refillPerSecond: refill)
        var script = RequestScript(key: key, limit: limit)
        var twin: StoreBucket?
        var offset: Int64 = 0
        for step in 0..<30 {
            let request = script.next(at: clock.now(), random: &random)
            let reply: Grant? = await withCheckedContinuation { continuation in
                store.lease(request) { result, _ in continuation.resume(returning: try? result.get()) }
            }
            // With a negative number, the store's clock steps back.
            let by = [0, 1, 30, 200, 1500, -3, -400, -70_000][Int.random(in: 0..<8, using: &random)]
            let lines = try await books(of: key, on: redis, thenBack: by)
            // A stale request changes nothing, not even the time of the last step.
            let now = offset + (try #require(Int64(lines[0])))
            var bucket = twin ?? StoreBucket(full: limit, nowMilliseconds: now)
            let expected = bucket.apply(request, nowMilliseconds: now)
            twin = bucket
            #expect(reply == expected, "step \(step) of \(key), \(limit)")
            #expect(lines[1] == Self.decimal(bucket.balanceMicrotokens))
            #expect(Set(lines.dropFirst(2)) == Set(Self.books(of: bucket, offset: offset)), "step \(step)")
            offset += Int64(by)
            script.take(reply, of: request)
            if reply != expected { return }
            guard step % 7 == 6 else { continue }
            try await store.fillBucket(of: key, limit: limit)
            let filled = try await books(of: key, on: redis, thenBack: 0)
            bucket.fill(limit, nowMilliseconds: offset + (try #require(Int64(filled[0]))))
            twin = bucket
            #expect(filled[1] == Self.decimal(bucket.balanceMicrotokens), "filled after step \(step)")
            #expect(Set(filled.dropFirst(2)) == Set(Self.books(of: bucket, offset: offset)))
        }
    }

    /// Returns the time of the last step, the tokens and the leases, then moves all stored times back.
    private func books(of key: String, on redis: RedisServer, thenBack by: Int) async throws -> [String] {
        let keys = ["tokens", "lastRefill", "leases"].map { "ratelimit:\(key):\($0)" }
        let stored = try await redis.command(["EVAL", Self.warp, "3"] + keys + ["\(by)"])
        return stored.split(separator: "\n").map(String.init)
    }

    private static func decimal(_ microtokens: Int64) -> String {
        let size = microtokens.magnitude
        let fraction = String(String(1_000_000 + size % 1_000_000).dropFirst())
        let short = fraction.replacing(/0+$/, with: "")
        return "\(microtokens < 0 ? "-" : "")\(size / 1_000_000).\(short.isEmpty ? "0" : short)"
    }

    private static func books(of bucket: StoreBucket, offset: Int64) -> [String] {
        [" \(bucket.overflowMicrotokens):\(decimal(bucket.balanceMicrotokens))"]
            + bucket.records.map { record in
                let fields: [Int64] = [
                    Int64(record.sequence), Int64(record.tokens), record.endsMilliseconds - offset, record.weight,
                    record.trickleRate, max(0, record.trickleEndsMilliseconds - offset), Int64(record.unacknowledged),
                    record.lastRequestMilliseconds - offset, record.overflowMicrotokens,
                ]
                return "\(record.lesseeID) \(fields.map { String($0) }.joined(separator: ":"))"
            }
    }
}

/// Generates plausible and implausible requests of three lessees, one request after the other.
private struct RequestScript {
    private struct Known {
        var sequence: UInt64 = 0
        var acknowledged: UInt64 = 0
        var held = 0
    }

    let key: String
    let limit: Limit
    private var lessees = Array(repeating: Known(), count: 3)

    init(key: String, limit: Limit) {
        self.key = key
        self.limit = limit
    }

    mutating func next(at now: Instant, random: inout SeededRandom) -> LeaseRequest {
        let index = Int.random(in: 0..<lessees.count, using: &random)
        let isLate = Int.random(in: 0..<10, using: &random) == 0
        let known = lessees[index]
        if !isLate { lessees[index].sequence += 1 }
        let spent = Int.random(in: 0...known.held, using: &random)
        let returned = Int.random(in: 0...(known.held - spent), using: &random)
        let costs = Int.random(in: 0...3, using: &random)
        return LeaseRequest(
            key: Array(key.utf8), limit: limit, lesseeID: "lessee-\(index)",
            sequence: lessees[index].sequence, acknowledged: known.acknowledged, held: known.held - spent - returned,
            millisecondsSinceLastSpend: Int64.random(in: 0...300, using: &random),
            halfSpentTokens: Int.random(in: 0...(spent + 1), using: &random),
            halfSpentMilliseconds: Int64.random(in: 0...2000, using: &random),
            returned: returned + Int.random(in: 0...1, using: &random),
            waiting: (0..<costs).map { _ in
                WaitingRun(
                    cost: Int.random(in: 1...max(1, limit.capacity / 3), using: &random),
                    count: Int.random(in: 1...4, using: &random))
            },
            requested: requested(random: &random), durationMilliseconds: [100, 800, 2000][index], sentAt: now,
            deadline: now.advanced(byMilliseconds: 10_000))
    }

    private func requested(random: inout SeededRandom) -> RequestedLease {
        RequestedLease(
            prefetchTokens: [0, 5, limit.capacity / 4, limit.capacity][Int.random(in: 0..<4, using: &random)],
            weight: [0, 1000, 333_333, 1_000_000_000_000][Int.random(in: 0..<4, using: &random)],
            trickleMilliseconds: [0, 50, 250, 10_000][Int.random(in: 0..<4, using: &random)],
            soloMultiplier: [1, 2, 8][Int.random(in: 0..<3, using: &random)])
    }

    mutating func take(_ grant: Grant?, of request: LeaseRequest) {
        guard let grant, let index = lessees.indices.first(where: { request.lesseeID == "lessee-\($0)" }) else {
            return
        }
        // Every fourth reply is lost.
        guard request.sequence % 4 != 0 else { return }
        lessees[index].acknowledged = request.sequence
        lessees[index].held = grant.held + grant.tokens + grant.trickleTokens
    }
}
