package import Cistern
package import CisternCluster
internal import Foundation

/// One bucket as stored in Redis.
package struct BucketInspection: Sendable {
    /// The node that stores the bucket.
    package let node: String
    /// Its slot in a Redis Cluster; nil on a ring.
    package let slot: Int?
    /// The bucket as stored in Redis; nil if there is none.
    ///
    /// Redis expires an unused bucket once it would be full again.
    package let stored: StoreBucket?
    /// The bucket as a request would find it now: refilled, and without expired leases.
    package let current: StoreBucket
    /// The time of the inspection on the Redis clock, in milliseconds since 1970.
    package let nowMilliseconds: Int64
    /// How long until Redis expires the bucket if it stays unused, in milliseconds; nil if there is none.
    package let timeToLiveMilliseconds: Int64?

    /// The servers that hold leases, the one with the most tokens first.
    package var lessees: [LesseeRecord] {
        current.records.sorted { ($1.tokens, $0.lesseeID) < ($0.tokens, $1.lesseeID) }.map { record in
            LesseeRecord(
                name: record.lesseeID, tokens: record.tokens,
                endsInMilliseconds: record.endsMilliseconds - nowMilliseconds,
                demandPerSecond: Double(record.weight) / 1000,
                tricklePerSecond: record.trickleEndsMilliseconds > nowMilliseconds
                    ? Double(record.trickleRate) / 1000 : 0,
                askedMillisecondsAgo: nowMilliseconds - record.lastRequestMilliseconds)
        }
    }

    /// Why a bucket cannot be inspected.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String

        package init(description: String) {
            self.description = description
        }
    }
}

extension BucketInspection {
    /// Parses the inspection script's reply; nil if it is malformed.
    init?(_ reply: RESPValue, node: String, slot: Int?, limit: Limit) {
        guard case .array(let fields) = reply, fields.count == 5, let now = fields[0].storeMilliseconds else {
            return nil
        }
        self.node = node
        self.slot = slot
        nowMilliseconds = now
        timeToLiveMilliseconds = fields[4].storeMilliseconds
        stored = StoreBucket(tokens: fields[1], lastRefill: fields[2], leases: fields[3], limit: limit, now: now)
        var current = stored ?? StoreBucket(full: limit, nowMilliseconds: now)
        current.catchUp(limit, nowMilliseconds: now)
        self.current = current
    }
}

extension RedisStore {
    private static let script = """
        local time = redis.call('TIME')
        return {
          tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000),
          redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]), redis.call('HGETALL', KEYS[3]),
          redis.call('PTTL', KEYS[1])
        }
        """

    /// Inspects a key's bucket without changing it.
    ///
    /// Call it after ``start()`` has returned.
    package func inspectBucket(
        of key: String, limit: Limit
    ) async throws(BucketInspection.Failure) -> BucketInspection {
        let name = Array(key.utf8)
        let command =
            [Array("EVAL".utf8), Array(Self.script.utf8), Array("3".utf8)]
            + context.names.bucket(of: name)
        let (node, reply) = try await ask(command, about: name)
        let slot = context.names.isTagged ? Int(partition(of: name.span).number) : nil
        guard let inspection = BucketInspection(reply, node: node, slot: slot, limit: limit) else {
            throw BucketInspection.Failure(description: "\(node) sent an unreadable reply: \(reply)")
        }
        return inspection
    }

    /// Refills a key's bucket completely, except for tokens that are still leased.
    ///
    /// A lessee that remembers a denial does not learn of this. It asks again once ordinary refill could have paid the
    /// denied request, or once its lease has ended.
    package func fillBucket(of key: String, limit: Limit) async throws(BucketInspection.Failure) {
        let name = Array(key.utf8)
        let command = FillScript.command(name, limit: limit, names: context.names)
        _ = try await ask(command, about: name)
    }

    /// Sends a command to the node that stores a key's bucket; returns the node's name and the reply.
    private func ask(
        _ command: [[UInt8]], about key: [UInt8]
    ) async throws(BucketInspection.Failure) -> (node: String, reply: RESPValue) {
        let partition = partition(of: key.span)
        guard let node = nodes.members(at: partition).first?.endpoint.name else {
            throw BucketInspection.Failure(description: "no known node serves slot \(partition.number)")
        }
        switch await nodes.command(command, at: partition, timeoutMilliseconds: 1000) {
        case .success(.error(let message)): throw BucketInspection.Failure(description: "\(node) answers: \(message)")
        case .success(let value): return (node, value)
        case .failure:
            let reason = nodes.members(at: partition).first?.report.reason ?? "it does not answer"
            throw BucketInspection.Failure(description: "\(node) is out of reach: \(reason)")
        }
    }
}

extension StoreBucket {
    /// Parses a bucket's three Redis keys; nil if there is no bucket.
    ///
    /// Other clients may have written to them. Impossible values are interpreted as in the lease script, or left out.
    fileprivate init?(tokens: RESPValue, lastRefill: RESPValue, leases: RESPValue, limit: Limit, now: Int64) {
        guard let tokens = tokens.text else { return nil }
        self.init(full: limit, nowMilliseconds: now)
        let number = Double(tokens) ?? 0
        let most = Double(Limit.maximumCapacity)
        let balance = number.isFinite ? min(max(number, -most), most) : 0
        balanceMicrotokens = Int64((balance * Double(Limit.microtokensPerToken)).rounded())
        if let time = lastRefill.text.flatMap({ Int64($0) }), 0...now ~= time { asOfMilliseconds = time }
        guard case .array(let words) = leases else { return }
        for index in stride(from: 0, to: words.count - 1, by: 2) {
            guard let lesseeID = words[index].text, let text = words[index + 1].text else { continue }
            let numbers = text.split(separator: ":").compactMap { Int64($0) }
            if lesseeID.isEmpty {
                overflowMicrotokens = Self.moduloOverflow(numbers.first ?? 0)
            } else if numbers.count == 9, numbers.allSatisfy({ 0...Self.largestNumber ~= $0 }) {
                let record = Record(lesseeID: lesseeID, numbers: numbers)
                if record.isPlausible, outstanding + record.tokens <= Limit.maximumCapacity { records.append(record) }
            }
        }
    }
}

extension StoreBucket {
    /// The script computes in doubles, which represent integers exactly up to this one.
    private static let largestNumber: Int64 = 1 << 53
}

extension StoreBucket.Record {
    fileprivate init(lesseeID: String, numbers: [Int64]) {
        self.init(
            lesseeID: lesseeID, sequence: UInt64(numbers[0]), tokens: Int(numbers[1]), endsMilliseconds: numbers[2],
            weight: numbers[3], trickleRate: numbers[4], trickleEndsMilliseconds: numbers[5],
            unacknowledged: Int(numbers[6]),
            lastRequestMilliseconds: numbers[7], overflowMicrotokens: numbers[8])
    }
}

extension RESPValue {
    /// A string's text; nil for anything else.
    fileprivate var text: String? {
        guard case .string(let bytes) = self else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }
}
