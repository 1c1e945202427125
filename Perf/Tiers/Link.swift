internal import Cistern
internal import CisternRedis
internal import NIOPosix

/// Connections to the Redis nodes of a tier.
enum Link {
    /// Opens some, each to all of the nodes, and returns once they can be used.
    static func open(
        _ count: Int, to endpoints: [RedisEndpoint], group: MultiThreadedEventLoopGroup, clock: any TimeSource
    ) async throws -> [RedisStore] {
        var settings = RedisSettings()
        // Room for every request that is under way at once.
        settings.maximumPendingRequests = 1_000_000
        // Whether a node lives is not the question here, and asking would count as a store call.
        settings.heartbeatMilliseconds = 3_600_000
        var stores: [RedisStore] = []
        for _ in 0..<count {
            let store = try RedisStore(
                endpoints: endpoints, settings: settings, clock: clock, eventLoopGroup: group, logger: .silent)
            await store.start()
            stores.append(store)
        }
        return stores
    }
}
