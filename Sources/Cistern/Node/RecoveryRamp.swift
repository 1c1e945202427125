/// How many requests a node is sent that has just come back: few at first, twice as many in each further step.
///
/// Every organisation has something to ask when its node returns. Without a bound they would all ask in the same
/// instant, and the node would be lost again to the load that it cannot answer in time.
package struct RecoveryRamp: Sendable {
    /// The length of a step, in milliseconds.
    package static let stepMilliseconds: Int64 = 100
    /// How many steps there are; after the last there is no bound.
    package static let steps: Int64 = 5

    /// Requests in the first step.
    private let first: Int
    private var startedAt: Instant?
    private var step: Int64 = 0
    private var sent = 0

    package init(first: Int) {
        self.first = first
    }

    /// The node has come back.
    package mutating func start(now: Instant) {
        startedAt = now
        step = 0
        sent = 0
    }

    /// Whether one more request may go now; if so it counts.
    package mutating func permits(now: Instant) -> Bool {
        guard let startedAt else { return true }
        let current = max(step, (now.milliseconds - startedAt.milliseconds) / Self.stepMilliseconds)
        guard current < Self.steps else {
            self.startedAt = nil
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
