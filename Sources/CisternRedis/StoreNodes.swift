internal import Cistern
internal import Foundation
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
    /// Used by nodes whose URL requires TLS.
    let certificates: LinkCertificates
    let clock: any TimeSource
    let eventLoopGroup: any EventLoopGroup
    let logger: Logger
    /// This server's name among the servers that share the nodes.
    ///
    /// It is unique to each run, because a server must not return tokens that an earlier run leased.
    let server = Self.uniqueName()

    /// Host, process ID and a random number, in at most 60 bytes: Redis keeps a hash compact up to 64-byte fields.
    private static func uniqueName() -> String {
        let run = "\(ProcessInfo.processInfo.processIdentifier)-\(String(UInt64.random(in: 0 ... .max), radix: 16))"
        let host = hostName.prefix(24)
        return host.isEmpty ? run : "\(host)-\(run)"
    }

    /// The local host name, read without a DNS query.
    private static var hostName: String {
        var bytes = [CChar](repeating: 0, count: 256)
        guard gethostname(&bytes, bytes.count - 1) == 0 else { return "" }
        let name = String(decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return String(name.prefix { $0 != "." }.filter { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") })
    }

    func makeNode(_ endpoint: RedisEndpoint, role: RedisNode.Role) -> RedisNode {
        RedisNode(
            endpoint: endpoint, settings: settings, certificates: certificates, role: role, clock: clock,
            eventLoop: eventLoopGroup.next(),
            logger: logger)
    }
}
