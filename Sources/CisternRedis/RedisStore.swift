public import Cistern
internal import CisternCluster
public import Logging
public import NIOCore
public import NIOPosix
public import NIOSSL

/// How several Redis nodes share the buckets between them.
public enum RedisTopology: String, Sendable, CaseIterable {
    /// Independent nodes; which of them keeps an organization follows from their names. See ``Ring``.
    case ring
    /// A Redis Cluster: it says itself where each slot is.
    case cluster
}

/// A store in Redis, shared by every server that names the same nodes.
///
/// It connects by itself, whenever a node can be reached; until then, and whenever it is lost, `isReachable` says so for
/// what is kept there, and requests fail at once. Call ``start()`` once before use and ``stop()`` at the end.
public final class RedisStore: LeaseStore {
    package let topology: RedisTopology
    let nodes: any StoreNodes
    /// This server's name among those that share the nodes: another one for each run.
    package let serverName: String
    private let tracing = StoreTracing.ofProcess
    private let certificates: LinkCertificates

    /// Creates the store of some nodes.
    ///
    /// Nothing is sent before ``start()``.
    ///
    /// - Parameters:
    ///   - endpoints: where the nodes are; of a cluster, one or more of them.
    ///   - topology: how they share the buckets.
    ///   - settings: the bounds of the links.
    ///   - clock: where `now` comes from; the one that decisions are given theirs from.
    ///   - eventLoopGroup: its loops carry the connections, one for each node.
    ///   - logger: told when a node goes down and when it comes back.
    /// - Throws: ``InvalidNodes`` where the endpoints do not make up a store; `NIOSSLError` where the certificates in the
    ///   settings cannot be used.
    public init(
        endpoints: [RedisEndpoint], topology: RedisTopology = .ring, settings: RedisSettings = RedisSettings(),
        clock: any TimeSource, eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger = Logger(label: "cistern")
    ) throws {
        try InvalidNodes.check(endpoints, topology: topology)
        certificates = try LinkCertificates(settings.tls)
        let context = StoreContext(
            settings: settings, certificates: certificates, clock: clock, eventLoopGroup: eventLoopGroup,
            logger: logger)
        self.topology = topology
        serverName = context.server
        nodes =
            switch topology {
            case .ring: try RingNodes(endpoints: endpoints, context: context)
            case .cluster: try ClusterNodes(seeds: endpoints, context: context)
            }
    }

    /// Creates the store of the node that a URL names, with the usual settings.
    ///
    /// - Throws: `RedisEndpoint.InvalidURL`, where it names none.
    public convenience init(url: String, clock: any TimeSource) throws {
        try self.init(endpoints: [RedisEndpoint(url: url)], clock: clock)
    }

    /// Connects, and returns once the first attempts have succeeded or failed; after that it goes on trying by itself.
    public func start() async {
        await nodes.start()
    }

    /// Closes the connections.
    ///
    /// Requests made afterwards fail at once.
    public func stop() async {
        await nodes.stop()
    }

    /// Turns to other nodes, or other weights, while requests go on; of a cluster, to other seeds.
    ///
    /// Returns once each new node has been tried. On a ring, organizations whose bucket is on another node from now on
    /// find it full there. Call `RateLimiter.returnMovedLeases(clock:)` next, and ``dropLeavingNodes()`` a lease's
    /// duration later.
    ///
    /// - Throws: ``InvalidNodes``, or ``UnusableNodes`` where nodes that are in use cannot be entered in the new way; then
    ///   nothing has changed.
    public func change(to endpoints: [RedisEndpoint]) async throws {
        try InvalidNodes.check(endpoints, topology: topology)
        try await nodes.change(to: endpoints)
    }

    /// Makes connections with other certificates from now on; those that are open stay.
    ///
    /// - Throws: what is wrong with the certificates; then nothing has changed.
    public func renew(tls configuration: TLSConfiguration) throws {
        try certificates.renew(configuration)
    }

    /// Closes the connections of nodes that were left out of the last change.
    public func dropLeavingNodes() async {
        await nodes.dropLeavingNodes()
    }

    /// Where an organization's bucket is now: on a ring its node, in a cluster its slot.
    public func partition(of key: Span<UInt8>) -> PartitionID {
        nodes.partition(of: key)
    }

    /// Whether the node at a home is in use now.
    public func isReachable(_ partition: PartitionID) -> Bool {
        nodes.isReachable(partition)
    }

    /// This server's part of every limit at a home that is out of reach.
    public func localFraction(of partition: PartitionID) -> LocalFraction? {
        nodes.localFraction(of: partition)
    }

    /// Carries one request to its node; see ``LeaseStore``.
    ///
    /// Where the process has a tracer, each has a span: swift-distributed-tracing, `cistern.lease`.
    public func lease(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        nodes.lease(request, reply: tracing?.traced(request, reply: reply) ?? reply)
    }

    /// The text of the script that keeps a bucket, with a request's numbers in it: for tools that run it without a store.
    ///
    /// It is told the organization's three keys and the lessee.
    package static func leaseScript(asking request: LeaseRequest) -> String { LeaseScript.source(asking: request) }

    /// Carries one plain command to the node that keeps an organization's bucket; `reply` is called once, on any thread.
    package func command(
        _ words: [[UInt8]], about key: Span<UInt8>, timeoutMilliseconds: Int64,
        reply: @escaping @Sendable (Result<RESPValue, LeaseFailure>) -> Void
    ) {
        nodes.command(words, at: nodes.partition(of: key), timeoutMilliseconds: timeoutMilliseconds, reply: reply)
    }

    /// What is known of each node now.
    package var reports: [NodeReport] {
        nodes.reports
    }
}

extension RedisStore {
    /// Endpoints that do not make up a store.
    public struct InvalidNodes: Error, Equatable, CustomStringConvertible {
        /// What is wrong, and what would be right.
        public let description: String

        /// Checks endpoints without connecting to them.
        package static func check(_ endpoints: [RedisEndpoint], topology: RedisTopology) throws(InvalidNodes) {
            guard !endpoints.isEmpty else { throw InvalidNodes(description: "name one node at least") }
            var names: Set<String> = []
            for endpoint in endpoints where !names.insert(endpoint.name).inserted {
                throw InvalidNodes(
                    description: "two nodes are named \(endpoint.name): name each once, or tell them apart with ?name=")
            }
            switch topology {
            case .ring:
                let weight = endpoints.reduce(0) { $0 + $1.weight }
                guard weight <= Ring.maximumWeight else {
                    throw InvalidNodes(
                        description: "the weights add up to \(weight): use at most \(Ring.maximumWeight) in all")
                }
            case .cluster:
                if let endpoint = endpoints.first(where: { $0.weight != 1 || $0.hasGivenName }) {
                    throw InvalidNodes(
                        description: "\(endpoint) has a weight or a name: a Redis Cluster has its own, leave them out")
                }
                if let endpoint = endpoints.first(where: { !$0.entersLike(endpoints[0]) }) {
                    throw InvalidNodes(
                        description: "\(endpoint) has another user, password or encryption than the first: "
                            + "all nodes of a Redis Cluster are entered alike")
                }
                if let endpoint = endpoints.first(where: { $0.database != 0 }) {
                    throw InvalidNodes(
                        description:
                            "\(endpoint) names database \(endpoint.database): a Redis Cluster has only database 0")
                }
            }
        }
    }

    /// New connections that cannot be used, where the ones that they were to replace can; those stay.
    public struct UnusableNodes: Error, CustomStringConvertible {
        /// Each of them, and what is wrong with it.
        public let description: String

        init(_ nodes: [RedisNode]) {
            description = nodes.map { "\($0.endpoint.name): \($0.report.reason ?? "no answer yet")" }.sorted()
                .joined(separator: "; ")
        }
    }

    /// More nodes than numbers, over the life of one store.
    public struct TooManyNodes: Error, CustomStringConvertible {
        /// What to do.
        public var description: String {
            "\(Reachability.partitionCount) nodes have come and gone: restart the server to name further ones"
        }
    }
}
