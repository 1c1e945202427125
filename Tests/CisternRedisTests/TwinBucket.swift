import Cistern
import CisternSupport
import Testing

@testable import CisternRedis

/// One key's bucket in Redis and as a ``StoreBucket``, with random commands to both.
struct TwinBucket {
    /// Returns what a bucket's Redis keys contain, and then changes it.
    ///
    /// To the lease script, the first number of milliseconds seems to have passed. The damage is a command for one of
    /// the Redis keys. The result has the contents before and after.
    private static let look = """
        local function contents()
          return { redis.pcall('GET', KEYS[1]), redis.pcall('GET', KEYS[2]), redis.pcall('HGETALL', KEYS[3]) }
        end
        local before = contents()
        local by, header, last = tonumber(ARGV[1]), redis.pcall('HGET', KEYS[3], ''), tonumber(before[2])
        local is_packed, state = pcall(cmsgpack.unpack, header)
        if by ~= 0 and is_packed and type(state) == 'table' then
          state[5] = state[5] + by
          redis.call('HSET', KEYS[3], '', cmsgpack.pack(state))
          if last then redis.call('SET', KEYS[2], string.format('%d', last - by)) end
        end
        if ARGV[2] ~= '' then redis.call(ARGV[2], KEYS[tonumber(ARGV[3])], unpack(ARGV, 4)) end
        return { before, contents() }
        """

    /// Each refill and capacity that is hard in some way: units of all sizes, rates below and above one unit.
    private static let limits: [(capacity: Int, refill: String)] = [
        (5, "600/s"), (20, "10/s"), (100, "10/s"), (1000, "1000/s"), (1_000_000_000, "1000000000/s"), (1000, "1/m"),
        (10, "5/h"), (1000, "7/d"), (300, "3/250ms"), (1_000_000_000, "1/7ms"), (0, "1/s"), (50, "86400001/d"),
    ]

    private let key: String
    private let names = KeyNames(isTagged: false)
    private var random: SeededRandom
    private var limit: Limit
    private var requests: RequestGenerator
    /// nil until the first command.
    private var twin: StoreBucket?
    /// The contents of the Redis keys if another program has changed them since the last command.
    private var damaged: [RESPValue]?
    private var pending = Pending.fill
    private var step = 0
    private var by: Int64 = 0
    private var isDamaging = false
    private(set) var grants = 0

    private enum Pending {
        case request(LeaseRequest)
        case fill
    }

    init(key: String, seed: UInt64) throws {
        self.key = key
        random = SeededRandom(seed: seed)
        limit = try Self.limit(Int(seed) % Self.limits.count)
        requests = RequestGenerator(key: key)
    }

    private static func limit(_ index: Int) throws -> Limit {
        try Limit(capacity: limits[index].capacity, refill: #require(Refill(limits[index].refill)))
    }

    // MARK: Commands

    /// Appends the next command, and the one that returns the state after it.
    mutating func write(digest: [UInt8], to buffer: inout RESPCommandBuffer) {
        step += 1
        if random.chance(0.02), let other = try? Self.limit(random.number(0...Self.limits.count - 1)) { limit = other }
        if random.chance(0.05) {
            pending = .fill
            buffer.append(command: LeaseScript.fill(Array(key.utf8), limit: limit, names: names))
        } else {
            let request = requests.next(limit: limit, random: &random)
            pending = .request(request)
            LeaseScript.write(request, as: .digest(digest), names: names, keyCount: 3, to: &buffer)
        }
        // With a negative number, the store's clock steps back.
        by = random.pick([0, 0, 1, 30, 200, 1500, -3, -400, -70_000])
        isDamaging = random.chance(0.03)
        let arguments = ["\(by)"] + (isDamaging ? random.pick(Self.damages) : [""])
        buffer.append(
            command: [Array("EVAL".utf8), Array(Self.look.utf8), Array("3".utf8)] + names.bucket(of: Array(key.utf8))
                + arguments.map { Array($0.utf8) })
    }

    /// What other programs and operators do: the command, the number of the Redis key, further arguments.
    private static let damages = [
        ["DEL", "1"], ["DEL", "2"], ["DEL", "3"], ["SET", "1", "garbage"], ["SET", "2", "garbage"],
        ["SET", "3", "garbage"], ["SET", "1", "1.5"], ["SET", "1", "0"], ["SET", "1", "1e300"], ["SET", "1", "-7.25"],
        ["SET", "2", "0"], ["SET", "2", "99999999999999"], ["PERSIST", "3"], ["HDEL", "3", ""],
        ["HSET", "3", "", "garbage"], ["HSET", "3", "lessee-0", "garbage"], ["HSET", "3", "", "\u{1}2345678"],
    ]

    // MARK: Replies

    /// Applies the command to the twin; returns how the reply or the state differs, or nil.
    mutating func compare(_ reply: RESPReply, state: RESPReply) -> String? {
        let place = "\(key), step \(step), \(limit)"
        guard case .array(let looks) = state.value, looks.count == 2, case .array(let before) = looks[0],
            case .array(let after) = looks[1]
        else {
            return "\(place): unreadable state \(state.value) after \(reply.value)"
        }
        let wasDamaged = damaged != nil
        defer { twin?.clockOffsetMilliseconds += by }
        if case .error(let message) = reply.value, message.hasPrefix("STALE"), case .request(let request) = pending {
            // A stale request changes nothing, not even the stored time.
            var bucket = known(atClock: 0)
            let clock = bucket.asOfMilliseconds - bucket.clockOffsetMilliseconds
            if bucket.apply(request, nowMilliseconds: clock) != nil { return "\(place): \(request) is not stale" }
            twin = bucket
            damaged = isDamaging || wasDamaged ? after : nil
            return nil
        }
        defer { damaged = isDamaging ? after : nil }
        guard let stored = Self.bucket(before, limit: limit, clock: .max / 2) else {
            // Only filling leaves a missing bucket missing.
            twin = nil
            if case .fill = pending, reply.value == .integer(0) { return nil }
            return "\(place): no bucket after \(reply.value)"
        }
        let clock = stored.asOfMilliseconds - stored.clockOffsetMilliseconds
        var bucket = known(atClock: clock)
        switch pending {
        case .fill: bucket.fill(limit, nowMilliseconds: clock)
        case .request(let request):
            let expected = bucket.apply(request, nowMilliseconds: clock)
            guard let grant = LeaseScript.answer(in: reply, to: request)?.grant, grant == expected else {
                return "\(place): \(reply.value) to \(request), not \(expected.map { "\($0)" } ?? "nothing")"
            }
            requests.take(grant, of: request)
            grants += 1
        }
        twin = bucket
        return Self.difference(stored, bucket).map { "\(place): \($0) after \(pending)" }
    }

    /// The bucket before the command.
    private func known(atClock clock: Int64) -> StoreBucket {
        let bucket = damaged.map { Self.bucket($0, limit: limit, clock: clock) } ?? twin
        return bucket ?? StoreBucket(full: limit, nowMilliseconds: clock)
    }

    private static func bucket(_ contents: [RESPValue], limit: Limit, clock: Int64) -> StoreBucket? {
        var leases: [(name: [UInt8], value: [UInt8])] = []
        if case .array(let words) = contents[2] {
            for index in stride(from: 0, to: words.count, by: 2) {
                if case .string(let name) = words[index], case .string(let value) = words[index + 1] {
                    leases.append((name, value))
                }
            }
        }
        func bytes(_ value: RESPValue) -> [UInt8]? { if case .string(let bytes) = value { bytes } else { nil } }
        return StoreBucket(
            tokens: bytes(contents[0]), lastRefill: bytes(contents[1]), leases: leases, limit: limit, clock: clock)
    }

    /// The first difference of two buckets, apart from expired records; nil if there is none.
    private static func difference(_ stored: StoreBucket, _ twin: StoreBucket) -> String? {
        func live(_ bucket: StoreBucket) -> [String: StoreBucket.Record] {
            bucket.records.filter { $0.value.endsMilliseconds > bucket.asOfMilliseconds }
        }
        func sorted(_ bucket: StoreBucket) -> StoreBucket {
            var bucket = bucket
            bucket.records = live(bucket)
            bucket.expirySlots.sort { $0.endsMilliseconds < $1.endsMilliseconds }
            bucket.trickleSlots.sort { $0.endsMilliseconds < $1.endsMilliseconds }
            return bucket
        }
        let (stored, twin) = (sorted(stored), sorted(twin))
        guard stored != twin else { return nil }
        let fields = zip(Mirror(reflecting: stored).children, Mirror(reflecting: twin).children)
        return fields.filter { "\($0.value)" != "\($1.value)" }.map {
            "\($0.label ?? ""): stored \($0.value), but the twin has \($1.value)"
        }.joined(separator: "\n")
    }
}

/// Generates plausible and implausible requests of three lessees, one request after the other.
private struct RequestGenerator {
    private struct Known {
        var sequence: UInt64 = 0
        var acknowledged: UInt64 = 0
        var held = 0
    }

    private let key: [UInt8]
    private var lessees = Array(repeating: Known(), count: 4)

    init(key: String) {
        self.key = Array(key.utf8)
    }

    mutating func next(limit: Limit, random: inout SeededRandom) -> LeaseRequest {
        let index = random.number(0...lessees.count - 1)
        let known = lessees[index]
        if !random.chance(0.1) { lessees[index].sequence += 1 }
        let spent = random.number(0...known.held)
        let returned = random.number(0...(known.held - spent))
        let now = Instant(milliseconds: 0)
        return LeaseRequest(
            key: key, limit: limit, lesseeID: "lessee-\(index)", sequence: lessees[index].sequence,
            acknowledged: known.acknowledged, held: known.held - spent - returned,
            millisecondsSinceLastSpend: Int64(random.number(0...300)), halfSpentTokens: random.number(0...(spent + 1)),
            halfSpentMilliseconds: Int64(random.number(0...2000)), returned: returned + random.number(0...1),
            waiting: (0..<random.number(0...3)).map { _ in
                WaitingRun(cost: random.number(1...max(1, limit.capacity / 3)), count: random.number(1...4))
            },
            requested: RequestedLease(
                prefetchTokens: random.pick([0, 5, limit.capacity / 4, limit.capacity]),
                weight: random.pick([0, 1000, 333_333, 1_000_000_000_000]),
                trickleMilliseconds: random.pick([0, 7, 50, 250, 10_000]), soloMultiplier: random.pick([1, 2, 8])),
            durationMilliseconds: [100, 800, 2000, 60_000][index], sentAt: now, deadline: now)
    }

    mutating func take(_ grant: Grant, of request: LeaseRequest) {
        // Every fourth reply is lost.
        guard request.sequence % 4 != 0,
            let index = lessees.indices.first(where: { request.lesseeID == "lessee-\($0)" })
        else { return }
        lessees[index].acknowledged = request.sequence
        lessees[index].held = grant.held + grant.tokens + grant.trickleTokens
    }
}
