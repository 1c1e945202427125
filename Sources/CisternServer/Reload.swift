internal import Cistern
internal import CisternAdmin
internal import CisternRedis
internal import Logging
internal import Synchronization

/// Applies changed settings while the server runs: limits, admin tokens, certificates and the Redis nodes.
///
/// Weights and credentials of nodes may change as well. An invalid file changes nothing. Any other changed setting is
/// logged and takes effect only after a restart.
struct Reload {
    private var current: ServerSettings
    private let store: RedisStore?
    private let limiter: RateLimiterEngine
    private let limits: LimitsWatcher
    private let adminTokens: CurrentAdminTokens
    private let certificates: CertificateWatcher?
    private let clock: any TimeSource
    private let logger: Logger
    /// Drops removed nodes one lease duration after a change of nodes; a further change replaces the task.
    private var dropRemovedNodesTask: Task<Void, any Error>?

    init(
        current: ServerSettings, store: RedisStore?, limiter: RateLimiterEngine, limits: LimitsWatcher,
        adminTokens: CurrentAdminTokens,
        certificates: CertificateWatcher?, clock: any TimeSource, logger: Logger
    ) {
        self.current = current
        self.store = store
        self.limiter = limiter
        self.limits = limits
        self.adminTokens = adminTokens
        self.certificates = certificates
        self.clock = clock
        self.logger = logger
    }

    /// Reads the settings again and applies them; returns once every lease of a moved bucket is returned.
    mutating func apply(_ read: () throws -> ServerSettings) async {
        let settings: ServerSettings
        do {
            settings = try read()
        } catch {
            return logger.error(
                "the settings are invalid, keeping the previous settings", metadata: ["reason": "\(error)"])
        }
        guard settings.fileSettingCount > 0 || current.fileSettingCount == 0 else {
            return logger.error(
                "the settings file is empty, keeping the previous settings",
                metadata: ["remedy": "restore its contents: an empty file may have been truncated"])
        }
        limits.change(standard: settings.standard, path: settings.limitsPath)
        if let admin = settings.admin, admin.tokens != nil || current.admin?.tokens == nil {
            adminTokens.value.withLock { $0 = admin.tokens }
        }
        let waiting = Set(settings.written.keys).union(current.written.keys)
            .filter { settings.written[$0] != current.written[$0] && !Self.reloadableSettings.contains($0) }
        if !waiting.isEmpty {
            logger.warning(
                "changed settings take effect only after a restart",
                metadata: ["settings": "\(waiting.sorted().joined(separator: ", "))"])
        }
        certificates?.renew(settings)
        guard let store, let redis = settings.redis else {
            if (store == nil) != (settings.redis == nil) {
                logger.warning(
                    "switching between Redis and the embedded store needs a restart", metadata: ["setting": "redis"])
            }
            return
        }
        guard redis.endpoints != current.redis?.endpoints else { return logger.notice("the Redis nodes are unchanged") }
        // Connections keep the connection settings of the server's start. The new nodes may need the new settings.
        let link = waiting.intersection(Self.connectionSettings)
        guard link.isEmpty else {
            return logger.error(
                "keeping the previous Redis nodes: connection settings have changed as well, and need a restart",
                metadata: ["settings": "\(link.sorted().joined(separator: ", "))"])
        }
        do {
            try await store.change(to: redis.endpoints)
        } catch {
            return logger.error("keeping the previous Redis nodes", metadata: ["reason": "\(error)"])
        }
        current.redis?.endpoints = redis.endpoints
        logger.notice("the Redis nodes have changed", metadata: ["nodes": "\(redis.endpoints.map(\.name))"])
        await limiter.returnMovedLeases(clock: clock)
        dropRemovedNodesTask?.cancel()
        // A lease with a request in flight moves when the response arrives, and returns its grant then.
        let leaseDuration = limiter.leaseSettings?.durationMilliseconds ?? current.limiter.lease.durationMilliseconds
        dropRemovedNodesTask = Task { [logger] in
            try await Task.sleep(for: .milliseconds(leaseDuration))
            await store.dropLeavingNodes()
            logger.notice("the leases of moved organizations are returned")
        }
    }

    private static let reloadableSettings: Set<String> = [
        "capacity", "refill", "refillPerSecond", "limits", "adminTokenFile", "redisCaFile", "redisCertFile",
        "redisKeyFile",
        "redis", "redisUser", "redisPassword", "redisPasswordFile",
    ]
    /// Settings that apply to every Redis connection.
    private static let connectionSettings: Set<String> = [
        "topology", "redisServerName", "redisVerify",
    ]

    /// Cancels pending work; nothing is running once this returns.
    func stop() async {
        dropRemovedNodesTask?.cancel()
        _ = await dropRemovedNodesTask?.result
    }
}
