package import Cistern

/// Counters and latencies of one node's lease requests since the start.
package struct NodeStatistics: Sendable {
    /// Lease requests that paid all waiting requests in full, without a trickle grant.
    package var granted: UInt64 = 0
    /// Requests that the bucket could not pay in full, or that got a trickle grant.
    package var partlyGranted: UInt64 = 0
    /// Requests for no tokens, which only return tokens or report spending.
    package var returned: UInt64 = 0
    /// Requests that the node rejected with an error.
    package var rejected: UInt64 = 0
    /// Requests that were not answered by their deadline.
    package var timedOut: UInt64 = 0
    /// Requests that were not sent, or whose connection ended before a reply.
    package var unreachable: UInt64 = 0
    /// Requests that were not sent because too many were pending.
    package var overloaded: UInt64 = 0
    /// Requests that a Redis Cluster node redirected to another node.
    package var redirected: UInt64 = 0
    /// Reply latency, from when the request was sent.
    package var latency = LatencyHistogram()

    package init() {}

    mutating func count(_ request: LeaseRequest, _ result: Result<Grant, LeaseFailure>, now: Instant) {
        switch result {
        case .success(let grant):
            latency.record(nanoseconds: now.nanoseconds - request.sentAt.nanoseconds)
            if request.waiting.isEmpty && request.requested.prefetchTokens == 0 {
                returned &+= 1
            } else if grant.tokens < request.missingTokens || grant.trickleTokens > 0 {
                partlyGranted &+= 1
            } else {
                granted &+= 1
            }
        case .failure(.unreachable): unreachable &+= 1
        case .failure(.timedOut): timedOut &+= 1
        case .failure(.overloaded): overloaded &+= 1
        case .failure(.rejected): rejected &+= 1
        }
    }
}

/// The current state of one node.
package struct NodeReport: Sendable {
    /// The node's name in logs and metrics.
    package let name: String
    /// Whether the node is in use.
    package let isUp: Bool
    /// Why the node is not in use; nil while it is up and before the first attempt.
    package let nodeFailure: NodeFailure?
    /// The counters of its requests.
    package let statistics: NodeStatistics
    /// The fraction of all keys that the node stores, 0 to 1.
    package var share = 0.0
    /// The slots that the node owns in a Redis Cluster, as ranges.
    package var slots: [ClosedRange<Int>] = []

    /// Why the node is not in use, as text.
    package var reason: String? { nodeFailure?.message }
}
