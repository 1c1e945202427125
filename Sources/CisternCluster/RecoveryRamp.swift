package import Cistern

/// Limits the requests to a node that has just recovered: few at first, twice as many in each further step.
///
/// Every key has a request to send when its node returns. Without a bound, all of them would arrive at once. The node
/// could not answer them in time and would be lost again.
package struct RecoveryRamp: Sendable {
    /// The length of a step, in milliseconds.
    package static let stepMilliseconds: Int64 = 100
    /// The number of steps; after the last one there is no bound.
    package static let steps: Int64 = 5

    /// Requests in the first step.
    private let first: Int
    /// Whether the ramp is running.
    private var isActive = false
    /// When the first request was sent; the steps count from then.
    private var startedAt: Instant?
    private var step: Int64 = 0
    private var sent = 0

    package init(first: Int) {
        self.first = first
    }

    /// Starts the ramp: the node has recovered.
    package mutating func start() {
        isActive = true
        startedAt = nil
        step = 0
        sent = 0
    }

    /// Whether one more request may be sent now; if so, counts it.
    package mutating func permits(now: Instant) -> Bool {
        guard isActive else { return true }
        let start = startedAt ?? now
        startedAt = start
        let current = max(step, (now.nanoseconds - start.nanoseconds) / (Self.stepMilliseconds * 1_000_000))
        guard current < Self.steps else {
            isActive = false
            return true
        }
        if current > step {
            step = current
            sent = 0
        }
        guard sent < first << Int(current) else { return false }
        sent += 1
        return true
    }
}
