/// Requests that return tokens to the old partitions of moved keys; the next sweep sends them.
struct PendingReturns: Sendable {
    /// The maximum number of requests; beyond it, tokens expire instead of being returned.
    private static let maximumCount = 4096

    private var requests: [LeaseRequest] = []

    var count: Int { requests.count }

    mutating func append(_ request: LeaseRequest) {
        if requests.count < Self.maximumCount { requests.append(request) }
    }

    /// Removes all requests and returns them with a new deadline.
    mutating func removeAll(deadline: Instant) -> [LeaseRequest] {
        defer { requests.removeAll() }
        return requests.map { request in
            var request = request
            request.deadline = deadline
            return request
        }
    }
}
