internal import Cistern

/// The page that Prometheus scrapes.
///
/// No label holds an organization's name, so the page does not grow with the number of organizations.
package enum MetricsPage {
    /// The page's media type.
    package static let contentType = PrometheusText.contentType

    /// The page's text.
    package static func text(_ snapshot: ServerSnapshot) -> String {
        var page = PrometheusText()
        writeDecisions(snapshot, to: &page)
        writeLeases(snapshot, to: &page)
        writeNodes(snapshot, to: &page)
        writeLimits(snapshot, to: &page)
        writeRequests(snapshot, to: &page)
        return page.text
    }

    private static func writeDecisions(_ snapshot: ServerSnapshot, to page: inout PrometheusText) {
        let decisions = snapshot.limiter.decisions
        page.family(.decisions)
        for (outcome, count) in [
            ("allowed", decisions.allowed), ("denied", decisions.denied), ("unmetered", decisions.unmetered),
            ("refused", decisions.refused),
        ] {
            page.sample([("outcome", outcome)], count)
        }
        page.family(.shadowDenials)
        page.sample(decisions.shadowDenied)
        page.family(.storeWait)
        page.histogram([], snapshot.limiter.waits)
        page.family(.cachedBuckets)
        page.sample(snapshot.limiter.cachedBuckets)
        page.family(.evictions)
        page.sample(snapshot.limiter.evictions)
    }

    private static func writeLeases(_ snapshot: ServerSnapshot, to page: inout PrometheusText) {
        let tokens = snapshot.limiter.leaseTokens
        page.family(.leaseTokens)
        for (event, count) in [
            ("granted", tokens.granted), ("spent", tokens.spent), ("returned", tokens.returned),
            ("expired", tokens.expired),
        ] {
            page.sample([("event", event)], count)
        }
        page.family(.outstandingTokens)
        page.sample(tokens.outstanding)
        guard let lease = snapshot.lease else { return }
        page.family(.leaseSetting)
        for (name, milliseconds) in [
            ("horizon", lease.horizonMilliseconds), ("duration", lease.durationMilliseconds),
            ("prefetch", lease.prefetchMilliseconds),
        ] {
            page.sample([("setting", name)], Double(milliseconds) / 1000)
        }
    }

    private static func writeNodes(_ snapshot: ServerSnapshot, to page: inout PrometheusText) {
        page.family(.leaseRequests)
        for node in snapshot.nodes {
            for (result, count) in node.requests { page.sample([("node", node.name), ("result", result)], count) }
        }
        page.family(.nodeUp)
        for node in snapshot.nodes { page.sample([("node", node.name)], node.isUp ? 1 : 0) }
        page.family(.nodeLatency)
        for node in snapshot.nodes { page.histogram([("node", node.name)], node.latency) }
    }

    private static func writeLimits(_ snapshot: ServerSnapshot, to page: inout PrometheusText) {
        let limits = snapshot.limits
        page.family(.limitOverrides)
        page.sample(limits.overrides)
        page.family(.limitsReads)
        page.sample([("result", "applied")], limits.fileReadsApplied)
        page.sample([("result", "rejected")], limits.fileReadsRejected)
        page.family(.limitsRejected)
        page.sample(limits.rejection == nil ? 0 : 1)
    }

    private static func writeRequests(_ snapshot: ServerSnapshot, to page: inout PrometheusText) {
        page.family(.requests)
        for route in snapshot.routes {
            for (status, count) in route.answers {
                page.sample([("route", route.label), ("status", "\(status)")], count)
            }
        }
        page.family(.requestDuration)
        for route in snapshot.routes { page.histogram([("route", route.label)], route.durations) }
        page.family(.connections)
        page.sample(snapshot.openConnections)
        page.family(.refusedConnections)
        page.sample(snapshot.refusedConnections)
        page.family(.acceptFailures)
        page.sample(snapshot.acceptFailures)
        page.family(.eventLoopLag)
        page.histogram([], snapshot.eventLoopLag)
        page.family(.newKeysDenied)
        page.sample(snapshot.limiter.decisions.newKeysDenied)
        page.family(.droppedLogLines)
        page.sample(snapshot.droppedLogLines)
    }
}
