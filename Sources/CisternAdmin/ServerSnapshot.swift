package import Cistern

/// The state of one server at one moment: everything that the admin interface shows.
package struct ServerSnapshot: Sendable {
    /// One node of the store.
    package struct Node: Sendable {
        package var name: String
        package var isUp: Bool
        /// The kind of failure, such as `refused`; nil while the node is up or before the first attempt.
        package var nodeFailure: String?
        /// The reason for the failure, as text.
        package var reason: String?
        /// The remedy for the failure.
        package var remedy: String?
        /// The fraction of all organizations whose buckets are on this node, 0 to 1.
        package var share: Double
        /// Lease requests by result.
        package var requests: [(result: String, count: UInt64)]
        package var latency: LatencyHistogram

        package init(
            name: String, isUp: Bool, nodeFailure: String?, reason: String?, remedy: String?, share: Double,
            requests: [(result: String, count: UInt64)], latency: LatencyHistogram
        ) {
            self.name = name
            self.isUp = isUp
            self.nodeFailure = nodeFailure
            self.reason = reason
            self.remedy = remedy
            self.share = share
            self.requests = requests
            self.latency = latency
        }
    }

    /// The responses of one route.
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

    /// The sources of the limits, and the results of reading them.
    package struct Limits: Sendable {
        /// The default limit, for organizations without their own.
        package var standard = Limit.standard
        /// The number of organizations with their own limit in the file or the settings.
        package var organizations = 0
        /// The number of organizations with an override in force.
        package var overrides = 0
        /// The path of the limits file, as configured; nil for none.
        package var file: String?
        /// Why the file on disk was rejected; nil if it is in force.
        package var rejection: String?
        package var fileReadsApplied: UInt64 = 0
        package var fileReadsRejected: UInt64 = 0

        package init() {}
    }

    /// The server's name among the servers that share a store; `local` with the embedded store.
    package var server = "local"
    /// The kind of store: `memory` or `redis`.
    package var store = "memory"
    /// How the nodes share the buckets, `ring` or `cluster`; nil with the embedded store.
    package var topology: String?
    package var failurePolicy = FailurePolicy.open
    package var uptimeSeconds: Int64 = 0
    /// Whether the server is draining, before it stops.
    package var isDraining = false
    /// Milliseconds since the last unmetered decision; nil if there was none.
    package var lastUnmeteredMillisecondsAgo: Int64?
    /// The number of the latest entry of the journal.
    package var latestJournalEntry = 0
    /// Whether the health page shows why a node is down, and the remedy.
    package private(set) var showsReasons = true
    package var limiter = LimiterStatistics()
    package var limits = Limits()
    /// The lease settings in force; nil with the embedded store.
    package var lease: LeaseSettings?
    package var nodes: [Node] = []
    package var routes: [Route] = []
    package var openConnections = 0
    package var refusedConnections: UInt64 = 0
    package var acceptFailures: UInt64 = 0
    package var droppedLogLines: UInt64 = 0
    package var eventLoopLag = LatencyHistogram()

    package init() {}

    /// A copy for clients without a token: it hides why nodes are down, and the remedies.
    package var publicView: ServerSnapshot {
        var snapshot = self
        snapshot.showsReasons = false
        return snapshot
    }

    /// The number of requests sent to the store.
    var storeCalls: UInt64 {
        // Requests that were never sent do not count.
        nodes.reduce(0) { sum, node in
            sum + node.requests.reduce(0) { Self.unsent.contains($1.result) ? $0 : $0 + $1.count }
        }
    }

    private static let unsent: Set<String> = ["unreachable", "overloaded"]
}
