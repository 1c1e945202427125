internal import Cistern

/// The page that Prometheus scrapes.
///
/// No label takes an organisation's name: the page does not grow with them.
package enum MetricsPage {
    /// The page's media type.
    package static let contentType = PrometheusText.contentType

    /// The page's text.
    package static func text(_ snapshot: MetricsSnapshot) -> String {
        var page = PrometheusText()
        writeDecisions(snapshot, to: &page)
        writeLeases(snapshot, to: &page)
        writeNodes(snapshot, to: &page)
        writeRequests(snapshot, to: &page)
        return page.text
    }

    private static func writeDecisions(_ snapshot: MetricsSnapshot, to page: inout PrometheusText) {
        let decisions = snapshot.limiter.decisions
        page.family("cistern_decisions_total", .counter, "Decisions by outcome.")
        for (outcome, count) in [
            ("allowed", decisions.allowed), ("denied", decisions.denied), ("unmetered", decisions.unmetered),
            ("refused", decisions.refused),
        ] {
            page.sample("cistern_decisions_total", [("outcome", outcome)], count)
        }
        page.family("cistern_cached_buckets", .gauge, "Organisations in memory.")
        page.sample("cistern_cached_buckets", [], snapshot.limiter.cachedBuckets)
        page.family("cistern_evictions_total", .counter, "Organisations that made room for others in memory.")
        page.sample("cistern_evictions_total", [], snapshot.limiter.evictions)
    }

    private static func writeLeases(_ snapshot: MetricsSnapshot, to page: inout PrometheusText) {
        let tokens = snapshot.limiter.leaseTokens
        page.family("cistern_lease_tokens_total", .counter, "Leased tokens by what became of them.")
        for (event, count) in [
            ("granted", tokens.granted), ("spent", tokens.spent), ("returned", tokens.returned),
            ("expired", tokens.expired),
        ] {
            page.sample("cistern_lease_tokens_total", [("event", event)], count)
        }
        page.family(
            "cistern_outstanding_tokens", .gauge, "Tokens leased and not spent, returned or seen to have expired.")
        page.sample("cistern_outstanding_tokens", [], tokens.outstanding)
    }

    private static func writeNodes(_ snapshot: MetricsSnapshot, to page: inout PrometheusText) {
        page.family("cistern_lease_requests_total", .counter, "Lease requests by node and result.")
        for node in snapshot.nodes {
            for (result, count) in node.requests {
                page.sample("cistern_lease_requests_total", [("node", node.name), ("result", result)], count)
            }
        }
        page.family("cistern_node_up", .gauge, "Whether the node is in use (1) or the failure policy decides (0).")
        for node in snapshot.nodes {
            page.sample("cistern_node_up", [("node", node.name)], node.isUp ? 1 : 0)
        }
        page.family("cistern_node_latency_seconds", .histogram, "Time to a node's answer to a lease request.")
        for node in snapshot.nodes {
            page.histogram("cistern_node_latency_seconds", [("node", node.name)], node.latency)
        }
    }

    private static func writeRequests(_ snapshot: MetricsSnapshot, to page: inout PrometheusText) {
        page.family("cistern_http_requests_total", .counter, "HTTP requests by route and status.")
        for route in snapshot.routes {
            for (status, count) in route.answers {
                page.sample(
                    "cistern_http_requests_total", [("route", route.label), ("status", "\(status)")], count)
            }
        }
        page.family(
            "cistern_http_request_duration_seconds", .histogram,
            "Time from a request's head to its answer, by route.")
        for route in snapshot.routes {
            page.histogram("cistern_http_request_duration_seconds", [("route", route.label)], route.durations)
        }
        page.family("cistern_http_connections", .gauge, "Open HTTP connections.")
        page.sample("cistern_http_connections", [], snapshot.openConnections)
    }
}
