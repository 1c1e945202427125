package import Cistern

/// What one node was asked and how it answered, since the start.
package struct NodeStatistics: Sendable {
    /// Requests that were granted what waited, and what was wished for as far as others left it.
    package var granted: UInt64 = 0
    /// Requests that the bucket could not pay in full, or only as the refill comes.
    package var short: UInt64 = 0
    /// Requests that asked for nothing: that gave tokens back, or reported what was spent.
    package var returned: UInt64 = 0
    /// Requests that the node answered with an error.
    package var rejected: UInt64 = 0
    /// Requests that were not answered by their deadline.
    package var timedOut: UInt64 = 0
    /// Requests that were not sent, or lost with the connection.
    package var unreachable: UInt64 = 0
    /// Requests that were not sent because too many were waiting.
    package var overloaded: UInt64 = 0
    /// Requests that the node sent on to another one, of a Redis Cluster.
    package var redirected: UInt64 = 0
    /// How long answers took, from when the request was sent.
    package var latency = LatencyHistogram()

    package init() {}

    mutating func count(_ request: LeaseRequest, _ result: Result<Grant, LeaseFailure>, now: Instant) {
        switch result {
        case .success(let grant):
            latency.record(nanoseconds: now.nanoseconds - request.sentAt.nanoseconds)
            if request.waiting.isEmpty && request.requested.ahead == 0 {
                returned &+= 1
            } else if grant.tokens < request.needed || grant.trickleTokens > 0 {
                short &+= 1
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

/// What is known of one node now.
package struct NodeReport: Sendable {
    /// The name in logs and metrics.
    package let name: String
    /// Whether it is in use.
    package let isUp: Bool
    /// Why it is not; nil while it is up or before the first attempt.
    package let trouble: NodeFailure?
    /// What it was asked and how it answered.
    package let statistics: NodeStatistics
    /// The part of all organizations that it keeps, 0 to 1.
    package var share = 0.0
    /// Of a Redis Cluster's node, the slots that it keeps, as ranges.
    package var slots: [ClosedRange<Int>] = []

    /// Why it is not in use, in words.
    package var reason: String? { trouble?.words }
}
