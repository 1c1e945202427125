internal import ArgumentParser
internal import CisternRedis
internal import CisternReport
internal import CisternServer
internal import Foundation

/// `cistern nodes`: shows the state of every Redis node.
struct NodesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "nodes",
        abstract: "Show the Redis nodes: state, latency, share, organizations.",
        discussion: """
            Connects to each node with the settings of `cistern serve`, from these flags, the environment and the \
            --config file, and so shows the nodes as a server sees them. Exit codes: 0 if every node can be used, 69 \
            if one cannot, 64 for an invalid setting.
            """)

    @OptionGroup var link: RedisOptions
    @OptionGroup var output: InspectionOptions

    func run() async throws {
        let inspector = try output.inspector(flags: link.values)
        let nodes = await inspector.nodes()
        let report = NodesReport(nodes)
        print(output.json ? try report.json : report.text)
        if let down = nodes.first(where: { $0.nodeFailure != nil }) {
            throw Exit.say("\(down.name) cannot be used: \(down.nodeFailure?.message ?? "")", code: .unavailable)
        }
    }
}

/// The output of `cistern nodes`; the article Topologies describes its JSON.
struct NodesReport: Encodable {
    struct Node: Encodable {
        let name: String
        let state: String
        let failure: String?
        let reason: String?
        let remedy: String?
        let latencyMilliseconds: Double?
        let share: Double
        let weight: Int
        let slots: [String]
        let organizations: Int?
        let organizationsAreEstimated: Bool
    }

    let version = 1
    let nodes: [Node]

    init(_ nodes: [NodeInspection]) {
        self.nodes = nodes.map { node in
            Node(
                name: node.name, state: node.nodeFailure == nil ? "up" : "down",
                failure: node.nodeFailure?.kind.rawValue,
                reason: node.nodeFailure?.message, remedy: node.nodeFailure?.remedy,
                latencyMilliseconds: node.latencyMilliseconds, share: node.share, weight: node.weight,
                slots: node.slots.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" },
                organizations: node.keys, organizationsAreEstimated: node.isEstimate)
        }
    }

    var text: String {
        let isCluster = nodes.contains { !$0.slots.isEmpty }
        var table = TextTable(
            ["NODE", "STATE", "LATENCY ms", "SHARE %", isCluster ? "SLOTS" : "WEIGHT", "ORGANIZATIONS"],
            texts: ["NODE", "STATE", "SLOTS"])
        for node in nodes {
            table.add([
                node.name, node.failure.map { "down: \($0)" } ?? "up",
                node.latencyMilliseconds.map { decimal($0, 2) } ?? "-", decimal(node.share * 100, 1),
                isCluster ? node.slots.joined(separator: " ") : "\(node.weight)",
                node.organizations.map { (node.organizationsAreEstimated ? "~" : "") + "\($0)" } ?? "-",
            ])
        }
        let remedies = nodes.compactMap { node in
            node.reason.map { "\(node.name): \($0)" + (node.remedy.map { "; \($0)" } ?? "") }
        }
        return ([table.text] + remedies).joined(separator: "\n")
    }

    var json: String { get throws { try InspectionOptions.json(self) } }
}
