internal import Cistern
internal import CisternRedis
internal import NIOPosix

/// Connections to the Redis nodes of a tier.
enum Link {
    /// Opens connections, each to all of the nodes, and returns when they are ready.
    static func open(
        _ count: Int, to endpoints: [RedisEndpoint], group: MultiThreadedEventLoopGroup, clock: any TimeSource
    ) async throws -> [RedisStore] {
        var settings = RedisSettings()
        // Room for every request in flight.
        settings.maximumPendingRequests = 1_000_000
        // No heartbeats: they are not needed here, and would count as store calls.
        settings.heartbeatMilliseconds = 3_600_000
        var stores: [RedisStore] = []
        for _ in 0..<count {
            let store = try RedisStore(
                endpoints: endpoints, settings: settings, environment: StoreEnvironment(clock: clock),
                eventLoopGroup: group, logger: .silent)
            await store.start()
            stores.append(store)
        }
        return stores
    }
}
