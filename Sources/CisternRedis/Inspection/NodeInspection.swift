internal import Cistern
internal import NIOCore

/// The result of inspecting one node.
package struct NodeInspection: Sendable {
    package let name: String
    /// Why the node cannot be used; nil if it can.
    package let nodeFailure: NodeFailure?
    /// The median latency of a few round trips, in milliseconds; nil if the node does not respond.
    package var latencyMilliseconds: Double?
    /// The fraction of all keys that the node stores, 0 to 1.
    package let share: Double
    /// The node's weight on a ring.
    package let weight: Int
    /// The node's slots in a Redis Cluster.
    package let slots: [ClosedRange<Int>]
    /// How many buckets the node stores now; nil if the user lacks the permission to count them.
    package var keys: Int?
    /// Whether ``keys`` is an estimate from a sample of the node's Redis keys.
    package var isEstimate = false
}

extension RedisStore {
    /// Inspects every node.
    ///
    /// Call it after ``start()`` has returned.
    package func inspectNodes() async -> [NodeInspection] {
        let reports = Dictionary(nodes.reports.map { ($0.name, $0) }) { first, _ in first }
        return await withTaskGroup(of: NodeInspection.self) { group in
            for node in nodes.members(at: nil) {
                guard let report = reports[node.endpoint.name] else { continue }
                group.addTask { await node.inspect(report) }
            }
            return await group.reduce(into: []) { $0.append($1) }.sorted { $0.name < $1.name }
        }
    }
}

extension RedisNode {
    private static let pings = 5
    private static let timeoutMilliseconds: Int64 = 1000

    fileprivate func inspect(_ report: NodeReport) async -> NodeInspection {
        var inspection = NodeInspection(
            name: report.name,
            nodeFailure: report.isUp ? nil : report.nodeFailure ?? NodeFailure(.timeout, "no answer yet"),
            share: report.share, weight: endpoint.weight, slots: report.slots)
        guard report.isUp else { return inspection }
        var latencies: [Int64] = []
        for _ in 0..<Self.pings {
            let start = clock.now()
            guard case .success = await ask(["TIME"]) else { break }
            latencies.append(clock.now().nanoseconds - start.nanoseconds)
        }
        if latencies.count == Self.pings {
            inspection.latencyMilliseconds = Double(latencies.sorted()[Self.pings / 2]) / 1_000_000
        }
        (inspection.keys, inspection.isEstimate) = await countKeys()
        return inspection
    }

    private func ask(_ words: [String]) async -> Result<RESPValue, LeaseFailure> {
        await command(words.map { Array($0.utf8) }, timeoutMilliseconds: Self.timeoutMilliseconds)
    }

    /// How many Redis keys to scan before estimating the rest, so that a large node is not kept busy.
    private static let mostKeys = 100_000
    private static let keysAtOnce = 1000

    private func countKeys() async -> (count: Int?, isEstimate: Bool) {
        var (cursor, found, scannedKeys) = ("0", 0, 0)
        repeat {
            let scan = ["SCAN", cursor, "MATCH", names.tokensPattern, "COUNT", "\(Self.keysAtOnce)"]
            guard case .success(.array(let answer)) = await ask(scan), answer.count == 2,
                case .string(let next) = answer[0], case .array(let keys) = answer[1]
            else { return (nil, false) }
            found += keys.count
            scannedKeys += Self.keysAtOnce
            cursor = String(decoding: next, as: UTF8.self)
        } while cursor != "0" && scannedKeys < Self.mostKeys
        guard cursor != "0" else { return (found, false) }
        guard case .success(.integer(let size)) = await ask(["DBSIZE"]) else { return (nil, false) }
        return (Int(exactly: (Double(found) / Double(scannedKeys) * Double(size)).rounded()), true)
    }
}
