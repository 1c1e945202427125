public import Cistern
public import Logging
public import NIOCore
public import NIOPosix

/// A store in Redis, shared by every server that names the same node.
///
/// It connects by itself, whenever the node can be reached; until then, and whenever it is lost, `isReachable` says
/// so and requests fail at once. Call ``start()`` once before use and ``stop()`` at the end.
public final class RedisStore: LeaseStore {
    private let node: RedisNode

    /// Creates the store of one node.
    ///
    /// Nothing is sent before ``start()``.
    ///
    /// - Parameters:
    ///   - endpoint: where the node is.
    ///   - settings: the bounds of the link.
    ///   - clock: where `now` comes from; the one that decisions are given theirs from.
    ///   - eventLoopGroup: one loop of it carries the connection.
    ///   - logger: told when the node goes down and when it comes back.
    public init(
        endpoint: RedisEndpoint, settings: RedisSettings = RedisSettings(), clock: any TimeSource,
        eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger = Logger(label: "cistern")
    ) {
        node = RedisNode(
            endpoint: endpoint, settings: settings, clock: clock, eventLoop: eventLoopGroup.next(), logger: logger)
    }

    /// Creates the store of the node that a URL names, with the usual settings.
    ///
    /// - Throws: `RedisEndpoint.InvalidURL`, where it names none.
    public convenience init(url: String, clock: any TimeSource) throws {
        self.init(endpoint: try RedisEndpoint(url: url), clock: clock)
    }

    /// Connects, and returns once the first attempt has succeeded or failed; after that it goes on trying by itself.
    public func start() async {
        await node.start()
    }

    /// Closes the connection.
    ///
    /// Requests made afterwards fail at once.
    public func stop() async {
        await node.stop()
    }

    /// Whether the node is in use now.
    public func isReachable(_ home: BucketHome) -> Bool {
        node.isUp
    }

    /// Carries one request to the node; see ``LeaseStore``.
    public func lease(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        node.lease(request, reply: reply)
    }

    /// What is known of each node now.
    package var reports: [NodeReport] {
        [node.report]
    }
}
