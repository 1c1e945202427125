internal import Cistern
internal import Foundation
internal import Logging
internal import NIOCore
internal import NIOSSL
internal import Synchronization

/// The nodes of a store, however they share the buckets between them.
protocol StoreNodes: LeaseStore {
    /// Connects to all nodes, and returns once each has been tried.
    func start() async
    /// Closes all connections for good.
    func stop() async
    /// Turns to other nodes, and returns once each new one has been tried.
    func change(to endpoints: [RedisEndpoint]) async throws
    /// Closes the connections of nodes that keep nothing any more.
    func dropLeavingNodes() async
    /// What is known of each node now.
    var reports: [NodeReport] { get }
    /// The nodes; with a home, the one that is there.
    func members(at partition: PartitionID?) -> [RedisNode]
    /// The places within reach that have a copy of all overrides.
    var overrideHolders: [OverrideCopies.Holder] { get }
    /// Carries one command about what is kept at a home; `reply` is called once, on any thread.
    func command(
        _ words: [[UInt8]], at partition: PartitionID, timeoutMilliseconds: Int64,
        reply: @escaping @Sendable (Result<RESPValue, LeaseFailure>) -> Void)
}

extension StoreNodes {
    /// The same for those that can wait.
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
    /// Does something with all of the nodes at once, and waits for all of them.
    func forAll(_ body: @escaping @Sendable (RedisNode) async -> Void) async {
        await withTaskGroup(of: Void.self) { group in
            for node in self { group.addTask { await body(node) } }
        }
    }
}

/// The certificates that links are made with, which may be renewed while they are in use.
final class LinkCertificates: Sendable {
    private let current: Mutex<NIOSSLContext>

    init(_ configuration: TLSConfiguration) throws {
        current = Mutex(try NIOSSLContext(configuration: configuration))
    }

    var context: NIOSSLContext { current.withLock { $0 } }

    /// Goes over to others; links that are open stay.
    ///
    /// - Throws: what is wrong with them; then nothing has changed.
    func renew(_ configuration: TLSConfiguration) throws {
        let context = try NIOSSLContext(configuration: configuration)
        current.withLock { $0 = context }
    }
}

/// What every node of a store is made with.
struct StoreContext: Sendable {
    let settings: RedisSettings
    /// For nodes whose URL asks for TLS.
    let certificates: LinkCertificates
    let clock: any TimeSource
    let eventLoopGroup: any EventLoopGroup
    let logger: Logger
    /// This server's name among those that share the nodes: another one for each run, since what an earlier run of this
    /// server held is not this one's to give back.
    let server = Self.uniqueName()

    /// Host, process and chance, in at most 60 bytes: Redis keeps a hash compact while its fields have 64 at most.
    private static func uniqueName() -> String {
        let run = "\(ProcessInfo.processInfo.processIdentifier)-\(String(UInt64.random(in: 0 ... .max), radix: 16))"
        let host = hostName.prefix(24)
        return host.isEmpty ? run : "\(host)-\(run)"
    }

    /// The machine's own name for itself, which no name server is asked for.
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
