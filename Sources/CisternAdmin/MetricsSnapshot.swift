package import Cistern

/// Everything that the metrics and health pages show, as it was at one moment.
package struct MetricsSnapshot: Sendable {
    /// One node of the store.
    package struct Node: Sendable {
        package var name: String
        package var isUp: Bool
        /// Why it is down, by name; nil while it is up or before the first attempt.
        package var trouble: String?
        /// The same in words.
        package var reason: String?
        /// What to do about it.
        package var remedy: String?
        /// Lease requests by how they came out.
        package var requests: [(result: String, count: UInt64)]
        package var latency: LatencyHistogram

        package init(
            name: String, isUp: Bool, trouble: String?, reason: String?, remedy: String?,
            requests: [(result: String, count: UInt64)], latency: LatencyHistogram
        ) {
            self.name = name
            self.isUp = isUp
            self.trouble = trouble
            self.reason = reason
            self.remedy = remedy
            self.requests = requests
            self.latency = latency
        }
    }

    /// Answers of one route.
    package struct Route: Sendable {
        package var label: String
        package var answers: [(status: Int, count: UInt64)]
        package var durations: LatencyHistogram

        package init(label: String, answers: [(status: Int, count: UInt64)], durations: LatencyHistogram) {
            self.label = label
            self.answers = answers
            self.durations = durations
        }
    }

    /// The kind of store: `memory` or `redis`.
    package var store: String
    package var uptimeSeconds: Int64
    package var limiter: LimiterStatistics
    package var nodes: [Node]
    package var routes: [Route]
    package var openConnections: Int

    package init(
        store: String, uptimeSeconds: Int64, limiter: LimiterStatistics, nodes: [Node], routes: [Route],
        openConnections: Int
    ) {
        self.store = store
        self.uptimeSeconds = uptimeSeconds
        self.limiter = limiter
        self.nodes = nodes
        self.routes = routes
        self.openConnections = openConnections
    }
}
