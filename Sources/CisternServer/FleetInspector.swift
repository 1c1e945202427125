package import Cistern
package import CisternCluster
package import CisternRedis
internal import Logging
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

    /// One organization's limit, and its bucket.
    ///
    /// - Throws: `BucketInspection.Failure` where its node cannot be asked.
    package func bucket(
        of organization: String
    ) async throws -> (limit: Limit, override: LimitOverrides.Entry?, bucket: BucketInspection) {
        try await connected {
            let override = try await overridesInForce()[organization]
            let limit = override?.limit ?? settings.limits.limit(of: organization.utf8.span)
            return (limit, override, try await store.inspectBucket(of: organization, limit: limit))
        }
    }

    /// Every override that is in force, by organization.
    ///
    /// - Throws: `BucketInspection.Failure` where no node can be asked.
    package func overrides() async throws -> [String: LimitOverrides.Entry] {
        try await connected { try await overridesInForce() }
    }

    private func connected<Result>(_ body: () async throws -> Result) async throws -> Result {
        await store.start()
        do {
            let result = try await body()
            await store.stop()
            return result
        } catch {
            await store.stop()
            throw error
        }
    }

    /// A limit that is shown without the overrides could be a wrong one: where they cannot be read, nothing is shown.
    private func overridesInForce() async throws -> [String: LimitOverrides.Entry] {
        let copies = store.overrideCopies(
            clock: Timeline(ContinuousClock()),
            logger: Logger(label: "cistern", factory: { _ in SwiftLogNoOpLogHandler() }))
        await copies.look()
        guard let now = await copies.nowMilliseconds else {
            let dead = store.reports.first { !$0.isUp }
            throw BucketInspection.Failure(
                description: "\(dead?.name ?? "every node") is out of reach: \(dead?.reason ?? "it does not answer")")
        }
        return await copies.overrides.entries.filter { $0.value.isInForce(atMilliseconds: now) }
    }
}
