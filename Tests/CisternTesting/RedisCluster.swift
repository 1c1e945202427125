package import CisternProcesses
import Foundation
import Synchronization

/// A Redis Cluster for one test, on free ports of 127.0.0.1, killed when this object is released.
///
/// Ports identify the nodes. A node keeps only its cluster configuration on disk. So a primary that is killed, and
/// restarted before its replica has taken over, is empty and empties its replica.
package final class RedisCluster: Sendable {
    /// The progress of the migration of a slot.
    package enum MigrationStep: Sendable, Equatable {
        /// The target imports the slot and serves clients that send ASKING; the source has not been told yet.
        case importing
        /// The source migrates the slot: it redirects requests for missing keys with ASK.
        case migrating
        /// Some keys have been moved; the value is their total so far.
        case moved(Int)
        /// The target has all keys and owns the slot; the migration has not told the source yet.
        case targetOwns
        /// The source knows the new owner, too, and answers with MOVED.
        case sourceKnows
    }

    /// The ports of all nodes, the initial primaries first.
    package let ports: [Int]
    private let folder: TemporaryDirectory
    private let servers: Mutex<[Int: RedisServer]>
    /// The nodes' cluster identifiers, by port.
    private let identifiers: [Int: String]
    private let arguments: [String]
    private let access: ClusterAccess

    /// Starts the nodes, joins them, and waits until they agree and all replicas replicate.
    ///
    /// - Parameters:
    ///   - nodeTimeoutMilliseconds: after how long a silent node counts as failed.
    ///   - arguments: further arguments of every redis-server, such as `--cluster-require-full-coverage`, `no`.
    ///   - certificates: makes the nodes use only TLS, with clients and with each other.
    package init(
        primaries: Int = 3, replicasPerPrimary: Int = 1, nodeTimeoutMilliseconds: Int = 1000,
        arguments: [String] = [], password: String? = nil, certificates: TLSCertificates? = nil
    ) async throws {
        let folder = try TemporaryDirectory()
        let access = ClusterAccess(password: password, certificates: certificates)
        let common =
            [
                "--cluster-enabled", "yes", "--cluster-node-timeout", "\(nodeTimeoutMilliseconds)",
                "--repl-diskless-sync-delay", "0",
            ] + access.serverArguments + arguments
        var started: [RedisServer] = []
        while started.count < primaries * (1 + replicasPerPrimary) {
            started.append(try await Self.startNode(common, below: folder, tls: certificates != nil))
        }
        let ports = started.map(\.port)
        let create =
            ["--cluster", "create"] + ports.map { "127.0.0.1:\($0)" }
            + ["--cluster-replicas", "\(replicasPerPrimary)", "--cluster-yes"]
        let creation = try access.client(create)
        guard try await creation.exitCode(within: 60) == 0 else {
            throw ChildProcess.Failure(description: "redis-cli --cluster create: \(creation.text)")
        }
        var identifiers: [Int: String] = [:]
        for port in ports { identifiers[port] = try await access.command(on: port, ["CLUSTER", "MYID"]) }
        self.ports = ports
        self.folder = folder
        self.access = access
        self.arguments = common
        self.identifiers = identifiers
        servers = Mutex(Dictionary(uniqueKeysWithValues: started.map { ($0.port, $0) }))
        try await settle()
    }

    deinit {
        // Before their folders are deleted.
        servers.withLock { for server in $0.values { server.process.signal(SIGKILL) } }
    }

    /// The URLs of all nodes, including killed ones.
    package var urls: [String] { ports.map { "\(access.scheme)://127.0.0.1:\($0)" } }

    /// The nodes that run and are not paused.
    package var nodes: [RedisServer] { servers.withLock { all in ports.compactMap { all[$0] } }.filter(\.isAnswering) }

    /// The most recently started node on a port.
    package func node(_ port: Int) throws -> RedisServer {
        guard let server = servers.withLock({ $0[port] }) else {
            throw ChildProcess.Failure(description: "no node of the cluster has port \(port)")
        }
        return server
    }

    /// Runs one command on one node with redis-cli and returns its raw output; for an error, the text.
    ///
    /// - Parameter following: whether redis-cli follows MOVED and ASK, as with `-c`.
    @discardableResult
    package func command(on port: Int, following: Bool = false, _ words: String...) async throws -> String {
        try await access.command(on: port, following: following, words)
    }

    /// The slot of a key.
    package func slot(ofKey key: String) async throws -> Int {
        let answer = try await access.command(on: try anyPort(), ["CLUSTER", "KEYSLOT", key])
        guard let slot = Int(answer) else { throw ChildProcess.Failure(description: "CLUSTER KEYSLOT: \(answer)") }
        return slot
    }

    /// The primary that claims a slot; if two do, the one with the higher epoch.
    package func primary(ofSlot slot: Int) async throws -> Int {
        guard let port = try await owner(ofSlot: slot) else {
            throw ChildProcess.Failure(description: "no node owns slot \(slot)")
        }
        return port
    }

    /// The running nodes that report themselves as replicas of a primary.
    package func replicas(of port: Int) async throws -> [Int] {
        let own = try await views().compactMap { port, view in view.own.map { (port, $0.primary) } }
        return own.filter { $0.1 != nil && $0.1 == identifiers[port] }.map(\.0)
    }

    /// Kills a node and waits for its end.
    package func kill(_ port: Int) async throws {
        try await node(port).kill()
    }

    /// Restarts a killed node on its port, with its cluster configuration and without its keys.
    package func restart(_ port: Int) async throws {
        let server = try await RedisServer(
            arguments + ["--dir", try folder.folder("\(port)")], port: port, tls: access.certificates != nil)
        servers.withLock { $0[port] = server }
    }

    /// Waits until a node other than `old` owns a slot, and returns it; other nodes may not know it yet.
    package func waitForFailover(ofSlot slot: Int, from old: Int) async throws -> Int {
        var port = old
        try await eventually("a primary of slot \(slot) other than \(old)") {
            port = try await self.owner(ofSlot: slot) ?? old
            return port != old
        }
        return port
    }

    /// Waits until all running nodes agree on the cluster and take commands, and their replicas replicate.
    package func settle() async throws {
        var reason = ""
        try await eventually("the cluster to settle: \(reason)", within: 60) {
            reason = try await self.disagreement() ?? ""
            return reason.isEmpty
        }
    }

    /// Migrates a slot with its keys as redis-cli does; clients may send requests meanwhile.
    ///
    /// - Parameters:
    ///   - batch: how many keys are moved at once. Keys must not contain line breaks.
    ///   - between: called after every step; the migration continues when it returns.
    package func migrate(
        slot: Int, from source: Int, to target: Int, batch: Int = 10,
        between: (MigrationStep) async throws -> Void = { _ in }
    ) async throws {
        let number = "\(slot)"
        let (giver, taker) = (identifiers[source] ?? "", identifiers[target] ?? "")
        try await order(target, ["CLUSTER", "SETSLOT", number, "IMPORTING", giver])
        try await between(.importing)
        try await order(source, ["CLUSTER", "SETSLOT", number, "MIGRATING", taker])
        try await between(.migrating)
        var moved = 0
        while true {
            let answer = try await access.command(on: source, ["CLUSTER", "GETKEYSINSLOT", number, "\(batch)"])
            let keys = answer.split(whereSeparator: \.isNewline).map(String.init)
            if keys.isEmpty { break }
            let move = ["MIGRATE", "127.0.0.1", "\(target)", "", "0", "5000"] + access.migrationArguments
            // A key that a client deleted meanwhile is no error.
            try await order(source, move + ["KEYS"] + keys, expecting: ["OK", "NOKEY"])
            moved += keys.count
            try await between(.moved(moved))
        }
        // The target first: if the source were first and failed then, no node would own the slot.
        try await order(target, ["CLUSTER", "SETSLOT", number, "NODE", taker])
        try await between(.targetOwns)
        try await order(source, ["CLUSTER", "SETSLOT", number, "NODE", taker])
        try await between(.sourceKnows)
        for (port, view) in try await views() where port != source && port != target && view.own?.isPrimary == true {
            try await order(port, ["CLUSTER", "SETSLOT", number, "NODE", taker])
        }
        try await eventually("every node to know the new owner of slot \(slot)") {
            try await self.views().allSatisfy { _, view in
                view.lines.first { $0.owns(slot) }?.identifier == taker
            }
        }
    }
}

extension RedisCluster {
    /// Starts a node on a port whose cluster bus port, 10,000 higher, is free as well.
    private static func startNode(_ arguments: [String], below folder: TemporaryDirectory, tls: Bool) async throws
        -> RedisServer
    {
        var failure = ChildProcess.Failure(description: "no two free ports for a node of a cluster")
        for _ in 0..<20 {
            // Both are below the ephemeral port range, so that a restarted node finds them free.
            let port = Int.random(in: 11_000..<22_000)
            guard isFree(port), isFree(port + 10_000) else { continue }
            do {
                return try await RedisServer(
                    arguments + ["--dir", try folder.folder("\(port)")], port: port, tls: tls)
            } catch let error as ChildProcess.Failure {
                failure = error
            }
        }
        throw failure
    }

    private static func isFree(_ port: Int) -> Bool {
        (try? ReservedPort(port)) != nil
    }

    private func anyPort() throws -> Int {
        guard let port = nodes.first?.port else { throw ChildProcess.Failure(description: "no node runs") }
        return port
    }

    /// The views of the running nodes, without nodes that exit meanwhile.
    private func views() async throws -> [(port: Int, view: ClusterView)] {
        var views: [(port: Int, view: ClusterView)] = []
        for node in nodes {
            do {
                views.append((node.port, ClusterView(try await access.command(on: node.port, ["CLUSTER", "NODES"]))))
            } catch  where !node.isAnswering {
                continue
            }
        }
        return views
    }

    private func owner(ofSlot slot: Int) async throws -> Int? {
        try await views()
            .compactMap { port, view in view.own.map { (port: port, line: $0) } }
            .filter { $0.line.owns(slot) }
            .max { $0.line.epoch < $1.line.epoch }?.port
    }

    private func order(_ port: Int, _ words: [String], expecting answers: [String] = ["OK"]) async throws {
        let answer = try await access.command(on: port, words)
        guard answers.contains(answer) else {
            throw ChildProcess.Failure(description: "\(words) on port \(port): \(answer)")
        }
    }

    /// The reason why the cluster has not settled; nil if it has.
    private func disagreement() async throws -> String? {
        let views = try await views()
        let own = views.compactMap(\.view.own)
        for (port, view) in views {
            for line in own {
                guard let said = view.lines.first(where: { $0.identifier == line.identifier }), said.agrees(with: line)
                else { return "node \(port) does not agree with \(line.identifier)" }
            }
            // Only a replica reports the state of its link.
            let information = try await access.command(on: port, ["INFO", "replication"])
            if information.contains("master_link_status:down") { return "replica \(port) does not replicate yet" }
            let state = try await access.command(on: port, ["CLUSTER", "INFO"])
            guard state.contains("cluster_state:ok") else { return "node \(port) does not take commands" }
        }
        return nil
    }
}

/// Credentials with which redis-cli connects to the nodes of a cluster, and the nodes to each other.
private struct ClusterAccess: Sendable {
    let password: String?
    let certificates: TLSCertificates?

    var scheme: String { certificates == nil ? "redis" : "rediss" }

    var serverArguments: [String] {
        (password.map { ["--requirepass", $0, "--masterauth", $0] } ?? [])
            + (certificates.map { $0.serverArguments() + ["--tls-cluster", "yes", "--tls-replication", "yes"] } ?? [])
    }

    var migrationArguments: [String] { password.map { ["AUTH", $0] } ?? [] }

    func client(_ arguments: [String]) throws -> ChildProcess {
        try ChildProcess(
            "redis-cli", (certificates?.clientArguments ?? []) + arguments,
            environment: password.map { ["REDISCLI_AUTH": $0] } ?? [:])
    }

    func command(on port: Int, following: Bool = false, _ words: [String]) async throws -> String {
        let client = try client(["-p", "\(port)"] + (following ? ["-c"] : []) + words)
        guard try await client.exitCode() == 0 else {
            throw ChildProcess.Failure(description: "redis-cli \(words) on port \(port): \(client.text)")
        }
        return client.text.trimmingCharacters(in: .newlines)
    }
}
