package import Cistern
package import CisternRedis
internal import NIOPosix

/// Looks into the Redis nodes that servers share, as one of them would, and changes nothing there.
package struct FleetInspector {
    private let settings: ServerSettings
    private let store: RedisStore

    /// Prepares to connect.
    ///
    /// - Throws: `SettingsError` where no Redis is named.
    package init(_ settings: ServerSettings) throws {
        guard let redis = settings.redis else {
            throw SettingsError(.redis, value: "", remedy: "name the nodes that the servers share, redis://HOST:PORT")
        }
        self.settings = settings
        store = try RedisStore(
            endpoints: redis.endpoints, topology: redis.topology, settings: redis.settings,
            clock: Timeline(ContinuousClock()))
    }

    /// Every node, asked how it is.
    package func nodes() async -> [NodeInspection] {
        await store.start()
        let nodes = await store.inspectNodes()
        await store.stop()
        return nodes
    }

    /// One organisation's limit, and its bucket.
    ///
    /// - Throws: `BucketInspection.Failure` where its node cannot be asked.
    package func bucket(of organization: String) async throws -> (Limit, BucketInspection) {
        let limit = settings.limits.limit(of: organization.utf8.span)
        await store.start()
        let bucket = try await store.inspectBucket(of: organization, limit: limit)
        await store.stop()
        return (limit, bucket)
    }
}
