/// Requests that return tokens to partitions that their keys have left, until the next sweep sends them.
struct PendingReturns: Sendable {
    /// How many may wait; without a sweep further tokens expire instead.
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
