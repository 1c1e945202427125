package import Cistern

/// Everything that the operators' plane shows of one server, as it was at one moment.
package struct ServerSnapshot: Sendable {
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
        /// The part of all organizations that it keeps, 0 to 1.
        package var share: Double
        /// Lease requests by how they came out.
        package var requests: [(result: String, count: UInt64)]
        package var latency: LatencyHistogram

        package init(
            name: String, isUp: Bool, trouble: String?, reason: String?, remedy: String?, share: Double,
            requests: [(result: String, count: UInt64)], latency: LatencyHistogram
        ) {
            self.name = name
            self.isUp = isUp
            self.trouble = trouble
            self.reason = reason
            self.remedy = remedy
            self.share = share
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

    /// Where the limits come from, and how that went.
    package struct Limits: Sendable {
        /// The limit of organizations without one of their own.
        package var standard = Limit.standard
        /// How many organizations have one in the file or the settings.
        package var organizations = 0
        /// How many organizations have one that overrides the others.
        package var overrides = 0
        /// The file, as it was named; nil for none.
        package var file: String?
        /// Why the file on disk is not in force; nil where it is.
        package var rejection: String?
        package var fileReadsApplied: UInt64 = 0
        package var fileReadsRejected: UInt64 = 0

        package init() {}
    }

    /// The server's name among those that share a store; with the embedded store `local`.
    package var server = "local"
    /// The kind of store: `memory` or `redis`.
    package var store = "memory"
    /// How several nodes share the buckets; nil with the embedded store.
    package var topology: String?
    package var failurePolicy = FailurePolicy.open
    package var uptimeSeconds: Int64 = 0
    /// Whether the server is about to stop.
    package var isDraining = false
    /// How long ago the last decision was unmetered, in milliseconds; nil where none was.
    package var lastUnmeteredMillisecondsAgo: Int64?
    /// The number of the latest entry of the journal.
    package var latestJournalEntry = 0
    /// Whether it is told why a node is down, and what to do.
    package private(set) var showsReasons = true
    package var limiter = LimiterStatistics()
    package var limits = Limits()
    /// How tokens are leased; nil with the embedded store.
    package var lease: LeaseSettings?
    package var nodes: [Node] = []
    package var routes: [Route] = []
    package var openConnections = 0
    package var refusedConnections: UInt64 = 0
    package var acceptFailures: UInt64 = 0
    package var droppedLogLines: UInt64 = 0
    package var eventLoopLag = LatencyHistogram()

    package init() {}

    /// The same without what only operators should know: why nodes are down, and what to do about it.
    package var forAnybody: ServerSnapshot {
        var snapshot = self
        snapshot.showsReasons = false
        return snapshot
    }

    /// Requests to the store.
    var storeCalls: UInt64 {
        // What was never sent is no call.
        nodes.reduce(0) { sum, node in
            sum + node.requests.reduce(0) { Self.unsent.contains($1.result) ? $0 : $0 + $1.count }
        }
    }

    private static let unsent: Set<String> = ["unreachable", "overloaded"]
}
