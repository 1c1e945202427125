internal import Cistern
internal import Logging
internal import NIOCore
internal import NIOSSL
internal import Synchronization

/// The nodes of a store, in either topology.
protocol StoreNodes: LeaseStore {
    /// Connects to all nodes; returns once each has been tried.
    func start() async
    /// Closes all connections permanently.
    func stop() async
    /// Switches to other nodes; returns once each new node has been tried.
    func change(to endpoints: [RedisEndpoint]) async throws
    /// Closes the connections to nodes that no longer store any bucket.
    func dropLeavingNodes() async
    /// The current state of each node.
    var reports: [NodeReport] { get }
    /// All nodes, or only the node of the given partition.
    func members(at partition: PartitionID?) -> [RedisNode]
    /// The reachable holders of a copy of all overrides.
    var overrideHolders: [OverrideCopies.Holder] { get }
    /// Sends one command about data in a partition; calls `reply` once, on any thread.
    func command(
        _ words: [[UInt8]], at partition: PartitionID, timeoutMilliseconds: Int64,
        reply: @escaping @Sendable (Result<RESPValue, LeaseFailure>) -> Void)
}

extension StoreNodes {
    /// Sends one command about data in a partition, and waits for its result.
    func command(
        _ words: [[UInt8]], at partition: PartitionID, timeoutMilliseconds: Int64
    ) async -> Result<RESPValue, LeaseFailure> {
        await withCheckedContinuation { continuation in
            command(words, at: partition, timeoutMilliseconds: timeoutMilliseconds) {
                continuation.resume(returning: $0)
            }
        }
    }
}

extension [RedisNode] {
    /// Runs `body` on all nodes concurrently, and waits for all of them.
    func forAll(_ body: @escaping @Sendable (RedisNode) async -> Void) async {
        await withTaskGroup(of: Void.self) { group in
            for node in self { group.addTask { await body(node) } }
        }
    }
}

/// The certificates for new connections; they can be renewed while in use.
final class LinkCertificates: Sendable {
    private let current: Mutex<NIOSSLContext>

    init(_ configuration: TLSConfiguration) throws {
        current = Mutex(try NIOSSLContext(configuration: configuration))
    }

    var context: NIOSSLContext { current.withLock { $0 } }

    /// Switches to other certificates; open connections stay.
    ///
    /// - Throws: an error that says what is wrong with the certificates. Nothing changes then.
    func renew(_ configuration: TLSConfiguration) throws {
        let context = try NIOSSLContext(configuration: configuration)
        current.withLock { $0 = context }
    }
}

/// The dependencies that all nodes of a store share.
struct StoreContext: Sendable {
    let settings: RedisSettings
    let names: KeyNames
    let environment: StoreEnvironment
    /// Used by nodes whose URL requires TLS.
    let certificates: LinkCertificates
    let eventLoopGroup: any EventLoopGroup
    let logger: Logger

    var clock: any TimeSource { environment.clock }
    /// This server's name among the servers that share the nodes.
    var server: String { environment.lesseeID }
    var clockDriftPerMille: Int64 { environment.settings.lease.clockDriftPerMille }
    /// Whether this server keeps a local fraction of all limits, which costs each node one command a second.
    var keepsLocalFraction: Bool { environment.settings.failurePolicy == .local }

    func makeNode(_ endpoint: RedisEndpoint, role: RedisNode.Role) -> RedisNode {
        RedisNode(endpoint: endpoint, context: self, role: role)
    }
}
