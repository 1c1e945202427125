internal import Cistern
internal import CisternAdmin
internal import CisternRedis
internal import Logging
internal import Synchronization

/// Takes in settings that have changed while the server runs: limits, who may use the operators' plane, the Redis nodes and
/// their weights, and how to enter them.
///
/// A file that is wrong changes nothing. Any other setting that has changed is named, and waits for a restart.
struct Reload {
    private var current: ServerSettings
    private let store: RedisStore?
    private let limiter: RateLimiter
    private let limits: LimitsWatcher
    private let tokens: CurrentTokens
    private let certificates: CertificateWatcher?
    private let clock: any TimeSource
    private let logger: Logger
    /// Lets nodes go that were left, a while later; the next change can come before.
    private var dropping: Task<Void, any Error>?

    init(
        current: ServerSettings, store: RedisStore?, limiter: RateLimiter, limits: LimitsWatcher, tokens: CurrentTokens,
        certificates: CertificateWatcher?, clock: any TimeSource, logger: Logger
    ) {
        self.current = current
        self.store = store
        self.limiter = limiter
        self.limits = limits
        self.tokens = tokens
        self.certificates = certificates
        self.clock = clock
        self.logger = logger
    }

    /// Reads the settings anew and goes over to them; returns once every lease of a bucket that moved is back.
    mutating func apply(_ read: () throws -> ServerSettings) async {
        let settings: ServerSettings
        do {
            settings = try read()
        } catch {
            return logger.error(
                "the settings are wrong; those of before stay in force", metadata: ["reason": "\(error)"])
        }
        guard settings.fileSettingCount > 0 || current.fileSettingCount == 0 else {
            return logger.error(
                "the settings file is empty, keeping the previous settings",
                metadata: ["remedy": "write its settings again: an empty file may have been cut off"])
        }
        limits.change(standard: settings.standard, path: settings.limitsPath)
        if let admin = settings.admin, admin.tokens != nil || current.admin?.tokens == nil {
            tokens.value.withLock { $0 = admin.tokens }
        }
        let waiting = Set(settings.written.keys).union(current.written.keys)
            .filter { settings.written[$0] != current.written[$0] && !Self.settingsOfLimits.contains($0) }
        if !waiting.isEmpty {
            logger.warning(
                "settings have changed that only a restart puts into force",
                metadata: ["settings": "\(waiting.sorted().joined(separator: ", "))"])
        }
        certificates?.renew(settings)
        guard let store, let redis = settings.redis else {
            if (store == nil) != (settings.redis == nil) {
                logger.warning(
                    "only a restart goes from one kind of store to the other", metadata: ["setting": "redis"])
            }
            return
        }
        guard redis.endpoints != current.redis?.endpoints else { return logger.notice("the Redis nodes are as before") }
        // The nodes are entered with what is in force; half of a change would lead to nodes that cannot be used.
        let link = waiting.intersection(Self.settingsOfLink)
        guard link.isEmpty else {
            return logger.error(
                "the Redis nodes stay as they were: how to enter them has changed, too, which needs a restart",
                metadata: ["settings": "\(link.sorted().joined(separator: ", "))"])
        }
        do {
            try await store.change(to: redis.endpoints)
        } catch {
            return logger.error("the Redis nodes stay as they were", metadata: ["reason": "\(error)"])
        }
        current.redis?.endpoints = redis.endpoints
        logger.notice("the Redis nodes have changed", metadata: ["nodes": "\(redis.endpoints.map(\.name))"])
        await limiter.returnMovedLeases(clock: clock)
        dropping?.cancel()
        // Those whose request was on its way find their new bucket when it is answered, and give back what they got.
        let leaseDuration = limiter.leaseSettings?.durationMilliseconds ?? current.limiter.lease.durationMilliseconds
        dropping = Task { [logger] in
            try await Task.sleep(for: .milliseconds(leaseDuration))
            await store.dropLeavingNodes()
            logger.notice("the leases of organizations that moved are back")
        }
    }

    private static let settingsOfLimits: Set<String> = [
        "capacity", "refillPerSecond", "limits", "adminTokenFile", "redisCaFile", "redisCertFile", "redisKeyFile",
    ]
    /// Settings that every connection is made with.
    private static let settingsOfLink: Set<String> = [
        "topology", "redisServerName", "redisVerify",
    ]

    /// Nothing is going on any more once this returns.
    func stop() async {
        dropping?.cancel()
        _ = await dropping?.result
    }
}
