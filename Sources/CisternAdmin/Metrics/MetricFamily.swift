/// A metric: its name, kind and help text.
///
/// Every metric is declared here; the metrics page, the alert rules and the Grafana dashboard use the declarations.
package struct MetricFamily: Sendable, Equatable {
    /// The Prometheus metric type.
    package enum Kind: String, Sendable {
        case counter
        case gauge
        case histogram
    }

    package let name: String
    package let kind: Kind
    package let help: String
}

extension MetricFamily {
    package static let decisions = MetricFamily(
        name: "cistern_decisions_total", kind: .counter, help: "Decisions by outcome.")
    package static let shadowDenials = MetricFamily(
        name: "cistern_shadow_denials_total", kind: .counter,
        help: "Allowed decisions that a limit in shadow mode would have denied.")
    package static let storeWait = MetricFamily(
        name: "cistern_store_wait_seconds", kind: .histogram,
        help: "Time that decisions waited for the store; decisions from memory are not counted.")
    package static let cachedBuckets = MetricFamily(
        name: "cistern_cached_buckets", kind: .gauge, help: "Organizations in memory.")
    package static let evictions = MetricFamily(
        name: "cistern_evictions_total", kind: .counter, help: "Organizations evicted from memory.")
    package static let leaseTokens = MetricFamily(
        name: "cistern_lease_tokens_total", kind: .counter,
        help: "Leased tokens by event: granted, spent, returned or expired.")
    package static let outstandingTokens = MetricFamily(
        name: "cistern_outstanding_tokens", kind: .gauge,
        help: "Leased tokens that are not known to be spent, returned or expired.")
    package static let leaseSetting = MetricFamily(
        name: "cistern_lease_setting_seconds", kind: .gauge, help: "Lease settings in force, by name.")
    package static let leaseRequests = MetricFamily(
        name: "cistern_lease_requests_total", kind: .counter, help: "Lease requests by node and result.")
    package static let nodeUp = MetricFamily(
        name: "cistern_node_up", kind: .gauge,
        help: "Whether the node is in use (1) or the failure policy decides (0).")
    package static let nodeLatency = MetricFamily(
        name: "cistern_node_latency_seconds", kind: .histogram, help: "Response time of a node to a lease request.")
    package static let limitOverrides = MetricFamily(
        name: "cistern_limit_overrides", kind: .gauge, help: "Organizations whose limit is overridden.")
    package static let limitsReads = MetricFamily(
        name: "cistern_limits_file_reads_total", kind: .counter, help: "Reads of the limits file, by result.")
    package static let limitsRejected = MetricFamily(
        name: "cistern_limits_file_rejected", kind: .gauge,
        help: "Whether the limits file on disk is invalid and the previous limits are in force (1).")
    package static let requests = MetricFamily(
        name: "cistern_http_requests_total", kind: .counter, help: "HTTP requests by route and status.")
    package static let requestDuration = MetricFamily(
        name: "cistern_http_request_duration_seconds", kind: .histogram,
        help: "Time from a request's head to its response, by route.")
    package static let connections = MetricFamily(
        name: "cistern_http_connections", kind: .gauge, help: "Open HTTP connections.")
    package static let refusedConnections = MetricFamily(
        name: "cistern_http_connections_refused_total", kind: .counter,
        help: "HTTP connections beyond maxConnections, which were answered with 503.")
    package static let acceptFailures = MetricFamily(
        name: "cistern_http_accept_failures_total", kind: .counter,
        help: "Connections not accepted because the system had no file descriptor or memory.")
    package static let newKeysDenied = MetricFamily(
        name: "cistern_new_keys_denied_total", kind: .counter,
        help: "Decisions denied because new organizations exceeded maxNewKeysPerSecond.")
    package static let droppedLogLines = MetricFamily(
        name: "cistern_log_lines_dropped_total", kind: .counter,
        help: "Log lines dropped because standard error was not read fast enough.")
    package static let eventLoopLag = MetricFamily(
        name: "cistern_event_loop_lag_seconds", kind: .histogram, help: "How late event loops run scheduled tasks.")

    /// Every metric, in the order of the page.
    package static let all: [MetricFamily] = [
        decisions, shadowDenials, storeWait, cachedBuckets, evictions, leaseTokens, outstandingTokens, leaseSetting,
        leaseRequests, nodeUp, nodeLatency, limitOverrides, limitsReads, limitsRejected, requests, requestDuration,
        connections, refusedConnections, acceptFailures, eventLoopLag, newKeysDenied, droppedLogLines,
    ]
}
