package import Cistern
package import CisternCluster
package import CisternRedis
internal import Logging
internal import NIOPosix

/// Reads the state of the Redis nodes that servers share, without changing it.
package struct RedisInspector {
    private let settings: ServerSettings
    private let store: RedisStore

    /// Prepares to connect.
    ///
    /// - Throws: `SettingsError` if `redis` is unset.
    package init(_ settings: ServerSettings) throws {
        guard let redis = settings.redis else {
            throw SettingsError(.redis, value: "", remedy: "name the nodes that the servers share, redis://HOST:PORT")
        }
        self.settings = settings
        store = try RedisStore(
            endpoints: redis.endpoints, topology: redis.topology, settings: redis.settings,
            environment: StoreEnvironment(
                clock: ClockTimeSource(ContinuousClock()), namespace: redis.keyPrefix),
            logger: Logger(label: "cistern", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    /// The state of every node.
    package func nodes() async -> [NodeInspection] {
        await store.start()
        let nodes = await store.inspectNodes()
        await store.stop()
        return nodes
    }

    /// One organization's limit, override and bucket.
    ///
    /// - Throws: `BucketInspection.Failure` if its node cannot be read.
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
    /// - Throws: `BucketInspection.Failure` if no node can be read.
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

    /// The overrides in force; throws if they cannot be read, because a limit shown without them could be wrong.
    private func overridesInForce() async throws -> [String: LimitOverrides.Entry] {
        let copies = store.overrideCopies
        await copies.readAll()
        guard let now = await copies.nowMilliseconds else {
            let dead = store.reports.first { !$0.isUp }
            throw BucketInspection.Failure(
                description: "\(dead?.name ?? "every node") is out of reach: \(dead?.reason ?? "it does not answer")")
        }
        return await copies.overrides.entries.filter { $0.value.isInForce(atMilliseconds: now) }
    }
}
