public import Cistern
public import Logging
public import NIOCore
public import NIOPosix

extension SharedStore {
    /// A store in Redis or Valkey, on the nodes with these URLs.
    ///
    /// ```swift
    /// let limiter = try RateLimiter(limit: .perSecond(10), store: .redis("redis://127.0.0.1:6379"))
    /// ```
    ///
    /// A URL that is not valid, or URLs that do not form a store, are an error of the limiter's initializer:
    /// ``RedisEndpoint/InvalidURL`` or ``RedisStore/InvalidNodes``.
    ///
    /// - Parameters:
    ///   - urls: `redis://[[user]:password@]host[:port][/database][?weight=2&name=a]`, or `rediss://…` for TLS; one for
    ///     each node of a ring, or for some nodes of a cluster.
    ///   - topology: how buckets are distributed over the nodes.
    ///   - settings: timeouts, bounds and TLS settings of the connections.
    ///   - eventLoopGroup: provides the event loops of the connections, one connection per node.
    ///   - logger: receives a line when a node goes down and when it comes back.
    public static func redis(
        _ urls: String..., topology: RedisTopology = .ring, settings: RedisSettings = RedisSettings(),
        eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger = Logger(label: "cistern")
    ) -> SharedStore {
        redis(urls: urls, topology: topology, settings: settings, eventLoopGroup: eventLoopGroup, logger: logger)
    }

    /// As `redis(_:topology:settings:eventLoopGroup:logger:)`, for a list of URLs.
    public static func redis(
        urls: [String], topology: RedisTopology = .ring, settings: RedisSettings = RedisSettings(),
        eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger = Logger(label: "cistern")
    ) -> SharedStore {
        SharedStore { environment in
            try RedisStore(
                endpoints: urls.map { try RedisEndpoint(url: $0) }, topology: topology, settings: settings,
                environment: environment, eventLoopGroup: eventLoopGroup, logger: logger)
        }
    }
}
