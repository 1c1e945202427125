package import Cistern

/// How many requests a node is sent that has just come back: few at first, twice as many in each further step.
///
/// Every organization has something to ask when its node returns. Without a bound they would all ask in the same
/// instant, and the node would be lost again to the load that it cannot answer in time.
package struct RecoveryRamp: Sendable {
    /// The length of a step, in milliseconds.
    package static let stepMilliseconds: Int64 = 100
    /// How many steps there are; after the last there is no bound.
    package static let steps: Int64 = 5

    /// Requests in the first step.
    private let first: Int
    /// Whether there is a bound at all.
    private var isRising = false
    /// When the first request went, from which the steps count.
    private var startedAt: Instant?
    private var step: Int64 = 0
    private var sent = 0

    package init(first: Int) {
        self.first = first
    }

    /// The node has come back.
    package mutating func start() {
        isRising = true
        startedAt = nil
        step = 0
        sent = 0
    }

    /// Whether one more request may go now; if so it counts.
    package mutating func permits(now: Instant) -> Bool {
        guard isRising else { return true }
        let start = startedAt ?? now
        startedAt = start
        let current = max(step, (now.nanoseconds - start.nanoseconds) / (Self.stepMilliseconds * 1_000_000))
        guard current < Self.steps else {
            isRising = false
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
