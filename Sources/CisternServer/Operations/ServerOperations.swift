internal import Cistern
internal import CisternAdmin
internal import CisternCluster
internal import CisternHTTP
internal import CisternRedis
internal import CisternSupport
internal import Synchronization

/// Connects the admin interface to the parts of a server: reads their state and changes it.
final class ServerOperations: Operations {
    private let limiter: RateLimiterEngine
    private let store: RedisStore?
    private let limits: LimitsWatcher
    private let overrides: OverrideSynchronizer
    private let failurePolicy: FailurePolicy
    private let clock: any TimeSource
    private let startedAt: Instant
    private let http: HTTPServerStatistics
    private let droppedLogLines: @Sendable () -> UInt64
    private let isDraining = Atomic(false)
    private let events: Journal

    init(
        limiter: RateLimiterEngine, store: RedisStore?, limits: LimitsWatcher, overrides: OverrideSynchronizer,
        failurePolicy: FailurePolicy, http: HTTPServerStatistics, droppedLogLines: @escaping @Sendable () -> UInt64,
        journal: Journal, clock: any TimeSource
    ) {
        self.http = http
        self.limiter = limiter
        self.store = store
        self.limits = limits
        self.overrides = overrides
        self.failurePolicy = failurePolicy
        self.droppedLogLines = droppedLogLines
        events = journal
        self.clock = clock
        startedAt = clock.now()
    }

    /// Reports from now on that the server is draining.
    func beginDraining() {
        isDraining.store(true, ordering: .relaxed)
    }

    /// The pages of the data port, which need no token.
    var pages: HealthAndMetricsPages {
        HealthAndMetricsPages(
            health: {
                let snapshot = self.snapshot().publicView
                return HealthAndMetricsPages.Page(
                    text: HealthPage.text(snapshot), contentType: HealthPage.contentType,
                    isUnavailable: snapshot.isDraining)
            },
            metrics: {
                HealthAndMetricsPages.Page(
                    text: MetricsPage.text(self.snapshot().publicView), contentType: MetricsPage.contentType)
            })
    }

    // MARK: Reading

    func snapshot() -> ServerSnapshot {
        var snapshot = ServerSnapshot()
        if let store {
            snapshot.server = store.serverName
            snapshot.store = "redis"
            snapshot.topology = store.topology.rawValue
            snapshot.nodes = store.reports.map(Self.node)
        }
        snapshot.isDraining = isDraining.load(ordering: .relaxed)
        snapshot.droppedLogLines = droppedLogLines()
        snapshot.latestJournalEntry = events.latest
        snapshot.failurePolicy = failurePolicy
        snapshot.uptimeSeconds = (clock.now().milliseconds - startedAt.milliseconds) / 1000
        snapshot.limiter = limiter.statistics
        if snapshot.limiter.decisions.unmetered > 0 {
            let last = snapshot.limiter.decisions.lastUnmeteredAt.milliseconds
            snapshot.lastUnmeteredMillisecondsAgo = max(0, clock.now().milliseconds - last)
        }
        snapshot.limits = limits.report
        snapshot.lease = limiter.leaseSettings
        snapshot.routes = Self.routes(http.requests)
        snapshot.openConnections = http.connectionCount
        snapshot.refusedConnections = http.refusedConnectionCount
        snapshot.acceptFailures = http.acceptFailureCount
        snapshot.eventLoopLag = http.lag
        return snapshot
    }

    private static func node(_ report: NodeReport) -> ServerSnapshot.Node {
        let counts = report.statistics
        return ServerSnapshot.Node(
            name: report.name, isUp: report.isUp, nodeFailure: report.nodeFailure?.kind.rawValue, reason: report.reason,
            remedy: report.nodeFailure?.remedy, share: report.share,
            requests: [
                ("granted", counts.granted), ("short", counts.partlyGranted), ("returned", counts.returned),
                ("rejected", counts.rejected), ("timeout", counts.timedOut), ("unreachable", counts.unreachable),
                ("overloaded", counts.overloaded), ("redirected", counts.redirected),
            ], latency: counts.latency)
    }

    private static func routes(_ statistics: HTTPStatistics) -> [ServerSnapshot.Route] {
        Route.allCases.map { route in
            ServerSnapshot.Route(
                label: route.label,
                answers: statistics.requests.filter { $0.route == route }.map { ($0.status.rawValue, $0.count) },
                durations: statistics.durations(of: route))
        }
    }

    func topOrganizations(_ most: Int, by order: DecisionKind) -> [SpaceSavingSketch.Entry] {
        http.topOrganizations(most, by: order, now: clock.now())
    }

    func overridesInForce() -> [String: LimitOverrides.Entry] { overrides.inForce }

    func journal() -> [JournalEntry] { events.entries }

    func noteUnmetered(_ decisions: UInt64) { events.addUnmetered(decisions) }

    func limit(of organization: String) -> Limit {
        limiter.limits.limit(of: Array(organization.utf8))
    }

    func organization(_ name: String) async -> OrganizationView {
        let (limits, bytes) = (limiter.limits, Array(name.utf8))
        let limit = limits.limit(of: bytes)
        let bucket: Result<OrganizationView.Bucket, OperationFailure>
        if let store {
            do {
                bucket = .success(view(try await store.inspectBucket(of: name, limit: limit), of: store))
            } catch {
                bucket = .failure(OperationFailure(error.description))
            }
        } else {
            let found = limiter.embeddedBucket(of: bytes.span, now: clock.now())
            let units = found?.units ?? limit.capacityUnits
            bucket = .success(
                OrganizationView.Bucket(
                    node: "memory", slot: nil, isStored: found != nil,
                    balance: Double(units) / Double(limit.unitsPerToken),
                    outstanding: 0, lessees: []))
        }
        return OrganizationView(
            limit: limit, limitSource: limits.source(of: bytes).rawValue, override: overrides.entry(of: name),
            leasedTokens: limiter.outstandingTokens(bytes.span, now: clock.now()), bucket: bucket)
    }

    private func view(_ inspection: BucketInspection, of store: RedisStore) -> OrganizationView.Bucket {
        OrganizationView.Bucket(
            node: inspection.node, slot: inspection.slot, isStored: inspection.stored != nil,
            balance: inspection.current.balance,
            outstanding: inspection.current.outstanding,
            lessees: inspection.lessees.map { lessee in
                var lessee = lessee
                lessee.isThisServer = lessee.name == store.serverName
                return lessee
            })
    }

    // MARK: Changing

    func fillBucket(of organization: String) async throws(OperationFailure) {
        let bytes = Array(organization.utf8)
        if let store {
            // Return the lease first: tokens already spent here would otherwise still count as leased in the store.
            await limiter.returnLease(of: bytes, now: clock.now())
            do {
                try await store.fillBucket(of: organization, limit: limiter.limits.limit(of: bytes))
            } catch {
                throw OperationFailure(error.description)
            }
        }
        limiter.fillBucket(of: bytes.span, now: clock.now())
    }

    func overrideLimit(
        of organization: String, with limit: Limit?, lifeSeconds: Int64?, by who: String
    ) async throws(OperationFailure) -> LimitOverrides.Entry {
        try await overrides.set(limit, of: organization, lifeSeconds: lifeSeconds, by: who)
    }

    func changeLease(to settings: LeaseSettings) {
        limiter.changeLeaseSettings(to: settings)
    }
}
