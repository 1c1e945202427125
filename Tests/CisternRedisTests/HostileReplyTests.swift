import Cistern
import CisternCluster
import CisternProcesses
import CisternSupport
import CisternTesting
import Foundation
import Logging
import NIOCore
import NIOPosix
import Testing

@testable import CisternRedis

/// No reply of a node may crash the process, whatever numbers it contains.
@Suite("Malformed and hostile replies")
struct HostileReplyTests {
    private static let numbers: [Int64] = [
        .min, .min + 1, -9_223_372_036_854_775, -1, 0, 1, 1 << 52, 1 << 53, 253_402_300_799_999, 253_402_300_800_000,
        9_223_372_036_854_775, .max - 1, .max,
    ]

    private let clock = ClockTimeSource(ContinuousClock())

    private func store(_ redis: ScriptedRedis) async throws -> RedisStore {
        let store = try RedisStore(
            endpoints: [RedisEndpoint(url: redis.url)], environment: StoreEnvironment(clock: clock),
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: Logger(label: "test"))
        await store.start()
        return store
    }

    @Test("false times and numbers in a bucket are rejected or inspected, and never trap", arguments: numbers)
    func inspection(number: Int64) throws {
        // A state and a record that consist of this number, in MessagePack.
        let packed: [UInt8] = [0xd3] + (0..<8).reversed().map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
        func repeated(_ count: Int) -> [UInt8] { Array(repeatElement(packed, count: count).joined()) }
        let record: [UInt8] = [0x9a] + repeated(10)
        let texts = Array("\(number)".utf8)
        for state: [UInt8] in [
            [0xdc, 0, 17, 2] + repeated(16), [0xdc, 0, 17, 2, 1] + repeated(8) + [1] + repeated(6),
        ] {
            let reply = RESPValue.array([
                .integer(number), .string(texts), .string(texts),
                .array([.string([]), .string(state), .string([0x78]), .string(record)]), .integer(number),
            ])
            for limit in [Limit.standard, try Limit(capacity: 1_000_000_000, refillPerSecond: 1_000_000_000)] {
                let inspection = BucketInspection(reply, node: "node", slot: nil, limit: limit)
                _ = inspection?.lessees.map(\.endsInMilliseconds)
            }
        }
    }

    @Test("a false overflow total does not trap, even beside a valid time")
    func overflowUnits() async throws {
        let redis = try await RedisServer()
        let store = try RedisStore(
            endpoints: [RedisEndpoint(url: redis.url)], environment: StoreEnvironment(clock: clock),
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: Logger(label: "test"))
        await store.start()
        try await redis.command("SET", "ratelimit:acme:tokens", "5")
        try await redis.command("SET", "ratelimit:acme:lastRefill", "0")
        try await redis.command("HSET", "ratelimit:acme:leases", "", "9223372036854775807")
        #expect(try await store.inspectBucket(of: "acme", limit: .standard).current.balanceUnits == 100_000_000)
        await store.stop()
    }

    @Test("false numbers in the reply to a lease request never grant more than the capacity", arguments: 0..<10)
    func leases(position: Int) async throws {
        for number in Self.numbers {
            let fields = (0..<10).map { $0 == position ? number : [1, 0, 1_000_000, 0, 0, 1, 1, 1, 0, 0][$0] }
            let redis = try ScriptedRedis { words in
                guard words.first == "EVALSHA", !words.contains("trial") else {
                    return ScriptedRedis.defaultReplies(words)
                }
                return "*10\r\n" + fields.map { ":\($0)\r\n" }.joined()
            }
            let store = try await store(redis)
            var settings = LimiterSettings()
            settings.failurePolicy = .closed
            let limiter = RateLimiterEngine(
                limits: Limits(), store: store, lesseeID: "server-1", settings: settings, seed: 1)
            let decision = await limiter.decide("acme", now: clock.now())
            // A grant of more tokens than the capacity is never accepted.
            if position == 0, !(0...100 ~= number) { #expect(decision.outcome == .refused) }
            #expect(limiter.outstandingTokens("acme".utf8.span) <= 100)
            await store.stop()
        }
    }

    @Test("false times in the reply to an override request do no harm", arguments: numbers)
    func overrides(number: Int64) async throws {
        let redis = try ScriptedRedis { words in
            guard words.first == "EVAL", words.count > 3, words[3].contains("overrides") else {
                return ScriptedRedis.defaultReplies(words)
            }
            func text(_ text: String) -> String { "$\(text.utf8.count)\r\n\(text)\r\n" }
            return "*3\r\n:\(number)\r\n$1\r\n1\r\n*2\r\n" + text("acme") + text("\(number):\(number):0:5:5000:eve")
        }
        let store = try await store(redis)
        let copies = store.overrideCopies
        await copies.synchronize()
        _ = try? await copies.set(.standard, of: "other", timeToLiveMilliseconds: 315_360_000_000, by: "me")
        if let now = await copies.nowMilliseconds { #expect(now - number <= 60_000) }
        await store.stop()
    }

    @Test("a slot map with numbers out of range is rejected", arguments: numbers)
    func slots(number: Int64) {
        func map(_ first: Int64, _ last: Int64, _ port: Int64) -> SlotMap? {
            SlotMap(
                .array([
                    .array([
                        .integer(first), .integer(last), .array([.string(Array("h".utf8)), .integer(port)]),
                    ])
                ]), from: "a")
        }
        let isSlot = 0...16383 ~= number
        #expect((map(number, number, 1) != nil) == isSlot)
        #expect((map(0, number, 1) != nil) == isSlot)
        #expect((map(number, 16383, 1) != nil) == isSlot)
        #expect((map(0, 1, number) != nil) == (1...65535 ~= number))
    }

    /// How long to search for replies that trap, in seconds: `CISTERN_REPLY_SECONDS`, or 0.3 if it is not set.
    private static let seconds = Double(ProcessInfo.processInfo.environment["CISTERN_REPLY_SECONDS"] ?? "") ?? 0.3

    @Test("neither random bytes nor well-formed random replies trap any reader", arguments: [false, true])
    func garbage(isWellFormed: Bool) throws {
        let seed = Self.seconds < 1 ? 29 : UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        var random = SeededRandom(seed: seed)
        let end = ContinuousClock.now + .seconds(Self.seconds)
        var count = 0
        while count < 200 || ContinuousClock.now < end {
            count += 1
            if isWellFormed {
                Self.readAll(Self.reply(using: &random))
            } else {
                try Self.readBytes(using: &random)
            }
        }
        print("\(count) replies, well formed: \(isWellFormed)")
    }

    private static let alphabet = Array("*$:+-#,%0123456789\r\n\r\n\r\nab".utf8)

    private static func readBytes(using random: inout SeededRandom) throws {
        let count = Int.random(in: 1...60, using: &random)
        let bytes = (0..<count).map { _ in alphabet[Int.random(in: 0..<alphabet.count, using: &random)] }
        var reader = try RESPReader()
        do throws(RESPReader.ProtocolError) {
            try reader.feed(ByteBuffer(bytes: bytes))
            while let reply = try reader.nextReply() { readAll(reply.value) }
        } catch {
            #expect(!error.description.isEmpty)
        }
    }

    /// Passes a reply to every reader of replies.
    private static func readAll(_ reply: RESPValue) {
        _ = SlotMap(reply, from: "h")
        _ = FractionScript.fraction(in: reply)
        _ = OverrideScript.Reading(reply)?.overrides?.inForce(atMilliseconds: 0)
        for limit in [Limit.standard, largest] {
            let inspection = BucketInspection(reply, node: "n", slot: nil, limit: limit)
            _ = inspection?.lessees.map(\.endsInMilliseconds)
        }
        if case .error(let message) = reply {
            _ = Redirect(message)
            _ = NodeFailure(reply: message)
        }
    }

    private static let largest = (try? Limit(capacity: 1_000_000_000, refillPerSecond: 1_000_000_000)) ?? .standard

    /// A reply with the shape of a genuine one, and with unexpected numbers and texts.
    private static func reply(using random: inout SeededRandom) -> RESPValue {
        func pick<Element>(_ elements: [Element]) -> Element {
            elements[Int.random(in: 0..<elements.count, using: &random)]
        }
        func number() -> Int64 {
            Bool.random(using: &random) ? pick(numbers) : Int64.random(in: 0...20_000, using: &random)
        }
        func text() -> RESPValue {
            let parts = (0..<Int.random(in: 0...10, using: &random)).map { _ in
                pick(["\(number())", "x", "", "-", "1.5", "inf", "nan"])
            }
            return .string(Array(parts.joined(separator: ":").utf8))
        }
        func list(_ count: Int, _ element: () -> RESPValue) -> RESPValue { .array((0..<count).map { _ in element() }) }
        func words() -> RESPValue { list(Int.random(in: 0...6, using: &random), text) }
        switch Int.random(in: 0..<5, using: &random) {
        case 0: return .array([.integer(number()), text(), text(), words(), .integer(number())])
        case 1: return .array([.integer(number()), text(), words()])
        case 2:
            return list(Int.random(in: 0...3, using: &random)) {
                let node = RESPValue.array([text(), .integer(number()), text(), words()])
                return .array([.integer(number()), .integer(number()), node, node])
            }
        case 3: return .array([.integer(number()), .integer(number())])
        default: return .error(pick(["MOVED", "ASK", "ERR", "-ERR READONLY"]) + " \(number()) h:\(number())")
        }
    }
}
