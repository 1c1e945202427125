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
        let now = current.asOfMilliseconds
        let live = current.records.filter { $0.value.endsMilliseconds > now }
        return live.sorted { ($1.value.tokens, $0.key) < ($0.value.tokens, $1.key) }.map { lesseeID, record in
            LesseeRecord(
                name: lesseeID, tokens: record.tokens, endsInMilliseconds: record.endsMilliseconds - now,
                demandPerSecond: Double(record.weight) / 1000,
                tricklePerSecond: record.trickleEndsMilliseconds > now
                    ? Double(record.trickleRate) * 1000 / Double(current.unitsPerToken) : 0,
                askedMillisecondsAgo: now - record.lastRequestMilliseconds)
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
        var leases: [(name: [UInt8], value: [UInt8])] = []
        if case .array(let words) = fields[3] {
            for index in stride(from: 0, to: words.count - 1, by: 2) {
                if let name = words[index].bytes, let value = words[index + 1].bytes { leases.append((name, value)) }
            }
        }
        stored = StoreBucket(
            tokens: fields[1].bytes, lastRefill: fields[2].bytes, leases: leases, limit: limit, clock: now)
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
          redis.pcall('GET', KEYS[1]), redis.pcall('GET', KEYS[2]), redis.pcall('HGETALL', KEYS[3]),
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
        let command = LeaseScript.fill(name, limit: limit, names: context.names)
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

extension RESPValue {
    /// A string's bytes; nil for anything else.
    fileprivate var bytes: [UInt8]? {
        guard case .string(let bytes) = self else { return nil }
        return bytes
    }
}
