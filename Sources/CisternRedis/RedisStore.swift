public import Cistern
internal import CisternCluster
public import Logging
public import NIOCore
public import NIOPosix
public import NIOSSL
internal import Synchronization

/// How buckets are distributed over several Redis nodes.
public enum RedisTopology: String, Sendable, CaseIterable {
    /// Independent nodes; consistent hashing on the node names selects the node of each key. See `Ring`.
    case ring
    /// A Redis Cluster, which assigns slots to nodes itself.
    case cluster
}

/// A store in Redis, shared by every server that is configured with the same nodes.
///
/// It connects to each node as soon as that node is reachable, and reconnects after a failure. While a node is down,
/// ``isReachable(_:)`` is false for its partitions, and their requests fail immediately. Call ``start()`` once before
/// use and ``stop()`` at the end.
public final class RedisStore: LeaseStore {
    package let topology: RedisTopology
    let nodes: any StoreNodes
    let context: StoreContext
    /// The names of the nodes that the store was created with.
    private let firstNodes: [String]
    private let isStarted = Atomic(false)
    /// The copies of all limit overrides in this store.
    package let overrideCopies: OverrideCopies
    private let tracing = StoreTracing.bootstrapped

    /// Creates a store on the given nodes.
    ///
    /// It sends nothing before ``start()``. With `RateLimiter`, describe the store by `.redis` instead.
    ///
    /// - Parameters:
    ///   - endpoints: the nodes; for a cluster, one or more seeds.
    ///   - topology: how buckets are distributed over the nodes.
    ///   - settings: timeouts, bounds and TLS settings of the connections.
    ///   - environment: the limiter's clock, lessee ID, namespace and settings.
    ///   - eventLoopGroup: provides the event loops of the connections, one connection per node.
    ///   - logger: receives a line when a node goes down and when it comes back.
    /// - Throws: ``InvalidNodes`` if the endpoints do not form a store; `InvalidSetting`; `NIOSSLError` if the
    ///   certificates in the settings cannot be used.
    public init(
        endpoints: [RedisEndpoint], topology: RedisTopology = .ring, settings: RedisSettings = RedisSettings(),
        environment: StoreEnvironment, eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger = Logger(label: "cistern")
    ) throws {
        try InvalidNodes.check(endpoints, topology: topology)
        try settings.validate()
        try StoreEnvironment.validate(namespace: environment.namespace)
        let context = StoreContext(
            settings: settings, names: KeyNames(prefix: environment.namespace, isTagged: topology == .cluster),
            environment: environment, certificates: try LinkCertificates(settings.tls),
            eventLoopGroup: eventLoopGroup, logger: logger)
        self.context = context
        self.topology = topology
        firstNodes = endpoints.map(\.name)
        let nodes: any StoreNodes =
            switch topology {
            case .ring: try RingNodes(endpoints: endpoints, context: context)
            case .cluster: try ClusterNodes(seeds: endpoints, context: context)
            }
        self.nodes = nodes
        overrideCopies = OverrideCopies(nodes: nodes, context: context)
    }

    /// This server's name among the servers that share the nodes; unique to each run.
    package var serverName: String { context.server }

    /// Connects; returns once the first attempt on each node has succeeded or failed.
    ///
    /// Retries continue afterward.
    public func start() async {
        let isFirstStart = !isStarted.exchange(true, ordering: .relaxed)
        if isFirstStart, SharedBucketWarning.begin(namespace: context.environment.namespace, nodes: firstNodes) {
            context.logger.warning(
                "two limiters of this process share their buckets",
                metadata: [
                    "namespace": "\(context.environment.namespace)", "nodes": "\(firstNodes)",
                    "remedy": "give each purpose its own namespace, or use one limiter for both",
                ])
        }
        await nodes.start()
    }

    /// Closes the connections.
    ///
    /// Later requests fail immediately.
    public func stop() async {
        if isStarted.exchange(false, ordering: .relaxed) {
            SharedBucketWarning.end(namespace: context.environment.namespace, nodes: firstNodes)
        }
        await nodes.stop()
    }

    /// Switches to other nodes or weights while requests continue; for a cluster, to other seeds.
    ///
    /// Returns once each new node has been tried. On a ring, a key whose bucket moves to another node finds a full
    /// bucket there. Next, call `RateLimiterEngine.returnMovedLeases(clock:)`, and one lease duration later
    /// ``dropLeavingNodes()``.
    ///
    /// - Throws: ``InvalidNodes``, or ``UnusableNodes`` if nodes in use do not accept the new credentials or address.
    ///   Nothing changes then.
    public func change(to endpoints: [RedisEndpoint]) async throws {
        try InvalidNodes.check(endpoints, topology: topology)
        try await nodes.change(to: endpoints)
    }

    /// Uses other certificates for new connections; open connections stay.
    ///
    /// - Throws: an error that says what is wrong with the certificates. Nothing changes then.
    public func renew(tls configuration: TLSConfiguration) throws {
        try context.certificates.renew(configuration)
    }

    /// Closes the connections to nodes that the last change removed.
    public func dropLeavingNodes() async {
        await nodes.dropLeavingNodes()
    }

    /// The partition of a key's bucket: its node on a ring, its slot in a cluster.
    public func partition(of key: Span<UInt8>) -> PartitionID {
        nodes.partition(of: key)
    }

    /// Whether the node of a partition is in use now.
    public func isReachable(_ partition: PartitionID) -> Bool {
        nodes.isReachable(partition)
    }

    /// This server's local fraction of every limit in an unreachable partition.
    public func localFraction(of partition: PartitionID) -> LocalFraction? {
        nodes.localFraction(of: partition)
    }

    /// Sends one lease request to its node; see `LeaseStore`.
    ///
    /// If the process has a tracer (swift-distributed-tracing), each request has a span named `cistern.lease`.
    public func lease(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        nodes.lease(request, reply: tracing?.traced(request, reply: reply) ?? reply)
    }

    /// The overrides that operators have set on any reachable node; nil before a node has replied.
    public func overrides() async -> [String: Limit]? {
        await overrideCopies.readAll()
        guard let now = await overrideCopies.nowMilliseconds else { return nil }
        return await overrideCopies.overrides.inForce(atMilliseconds: now)
    }

    /// The current state of each node.
    public var nodeStates: [StoreNode] {
        reports.map { StoreNode(name: $0.name, isReachable: $0.isUp, failure: $0.reason) }
    }

    /// The text of the lease script with a request's numbers embedded, for tools that run it without a store.
    ///
    /// The script takes the bucket's three Redis keys and the lessee ID.
    package static func leaseScript(embedding request: LeaseRequest) -> String {
        LeaseScript.source(embedding: request)
    }

    /// Sends one plain command to the node that stores a key's bucket; calls `reply` once, on any thread.
    package func command(
        _ words: [[UInt8]], about key: Span<UInt8>, timeoutMilliseconds: Int64,
        reply: @escaping @Sendable (Result<RESPValue, LeaseFailure>) -> Void
    ) {
        nodes.command(words, at: nodes.partition(of: key), timeoutMilliseconds: timeoutMilliseconds, reply: reply)
    }

    /// The current state of each node.
    package var reports: [NodeReport] {
        nodes.reports
    }
}

extension RedisStore {
    /// The endpoints do not form a store.
    public struct InvalidNodes: Error, Equatable, CustomStringConvertible {
        /// What is wrong, and how to correct it.
        public let description: String

        /// Checks endpoints without connecting to them.
        package static func check(_ endpoints: [RedisEndpoint], topology: RedisTopology) throws(InvalidNodes) {
            guard !endpoints.isEmpty else { throw InvalidNodes(description: "name at least one node") }
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
                        description: "\(endpoint) has a weight or a name: remove it, a Redis Cluster assigns its own")
                }
                if let endpoint = endpoints.first(where: { !$0.hasSameCredentials(endpoints[0]) }) {
                    throw InvalidNodes(
                        description: "\(endpoint) has a different user, password or encryption than the first: "
                            + "all nodes of a Redis Cluster must use the same")
                }
                if let endpoint = endpoints.first(where: { $0.database != 0 }) {
                    throw InvalidNodes(
                        description:
                            "\(endpoint) names database \(endpoint.database): a Redis Cluster has only database 0")
                }
            }
        }
    }

    /// Some new connections failed, although the old connections to the same nodes work; the old ones stay in use.
    public struct UnusableNodes: Error, CustomStringConvertible {
        /// The name of each unusable node, and what is wrong with it.
        public let description: String

        init(_ nodes: [RedisNode]) {
            description = nodes.map { "\($0.endpoint.name): \($0.report.reason ?? "no answer yet")" }.sorted()
                .joined(separator: "; ")
        }
    }

    /// The store has used more nodes, over its lifetime, than there are partition numbers.
    public struct TooManyNodes: Error, CustomStringConvertible {
        /// What happened, and what to do.
        public var description: String {
            "\(Reachability.partitionCount) different nodes have been used, the maximum: restart the server to add more"
        }
    }
}
