internal import Cistern
internal import CisternAdmin
internal import CisternHTTP
internal import CisternRedis
internal import Synchronization

/// Gathers what the parts of a server have counted into the pages that show it.
final class Overview: Sendable {
    private let limiter: RateLimiter
    private let store: RedisStore?
    private let clock: any TimeSource
    private let startedAt: Instant
    private let server = Mutex<HTTPServer?>(nil)

    init(limiter: RateLimiter, store: RedisStore?, clock: any TimeSource) {
        self.limiter = limiter
        self.store = store
        self.clock = clock
        startedAt = clock.now()
    }

    /// Names the server whose requests are shown.
    ///
    /// It is made after this, since it serves the pages.
    func observe(_ server: HTTPServer) {
        self.server.withLock { $0 = server }
    }

    /// The pages, made anew each time one is asked for.
    var pages: OperatorPages {
        OperatorPages(
            health: { OperatorPages.Page(text: HealthPage.text(self.snapshot), contentType: HealthPage.contentType) },
            metrics: { OperatorPages.Page(text: MetricsPage.text(self.snapshot), contentType: MetricsPage.contentType) }
        )
    }

    private var snapshot: MetricsSnapshot {
        let server = server.withLock { $0 }
        return MetricsSnapshot(
            store: store == nil ? "memory" : "redis",
            uptimeSeconds: (clock.now().milliseconds - startedAt.milliseconds) / 1000, limiter: limiter.statistics,
            nodes: store?.reports.map(Self.node) ?? [], routes: server.map { Self.routes($0.statistics) } ?? [],
            openConnections: server?.connectionCount ?? 0)
    }

    private static func node(_ report: NodeReport) -> MetricsSnapshot.Node {
        let counts = report.statistics
        return MetricsSnapshot.Node(
            name: report.name, isUp: report.isUp, trouble: report.trouble?.kind.rawValue, reason: report.reason,
            remedy: report.trouble?.remedy,
            requests: [
                ("granted", counts.granted), ("short", counts.short), ("returned", counts.returned),
                ("rejected", counts.rejected), ("timeout", counts.timedOut), ("unreachable", counts.unreachable),
                ("overloaded", counts.overloaded), ("redirected", counts.redirected),
            ], latency: counts.latency)
    }

    private static func routes(_ statistics: HTTPStatistics) -> [MetricsSnapshot.Route] {
        Route.allCases.map { route in
            MetricsSnapshot.Route(
                label: route.label,
                answers: statistics.requests.filter { $0.route == route }.map { ($0.status.rawValue, $0.count) },
                durations: statistics.durations(of: route))
        }
    }
}
