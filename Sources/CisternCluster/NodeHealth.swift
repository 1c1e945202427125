internal import Cistern

/// Whether to use one node of the store, and when to probe it again: a state machine without IO.
///
/// A node is up from a successful probe until the next failure. While it is down, it gets only probes, one at a time.
/// The pauses between probes double up to a bound. They have random jitter, so that the servers of a fleet do not
/// reconnect all at once.
package struct NodeHealth: Sendable {
    /// The state of the node.
    package enum State: Sendable, Equatable {
        /// Not in use; waiting for the next probe.
        case down
        /// Not in use; a probe is in flight.
        case probing
        /// In use.
        case up
        /// Not in use, for good.
        case stopped
    }

    /// The pauses between probes.
    package struct BackOff: Sendable, Equatable {
        /// The first pause, in milliseconds.
        package var firstMilliseconds: Int64 = 50
        /// The longest pause, in milliseconds.
        package var longestMilliseconds: Int64 = 1000

        package init() {}
    }

    package private(set) var state = State.down
    /// Why the node is down; nil before the first probe and while it is up.
    package private(set) var reason: String?
    /// Consecutive failures: of probes, and of a node that was up but had not served a request yet.
    private var failures = 0
    /// The reason of the last of these failures.
    private var lastReason: String?
    /// Whether the node has served a request since it came up.
    ///
    /// Until then its failures count like failed probes. Otherwise a node that answers only probes would be retried and
    /// reported without a pause.
    private var hasServed = false
    /// Whether the node failed while it was up, and has not served a request since.
    private var isFlapping = false
    private let backOff: BackOff

    package init(backOff: BackOff = BackOff()) {
        self.backOff = backOff
    }

    /// Starts a probe if the node is down.
    ///
    /// Returns whether the caller should send one.
    package mutating func probe() -> Bool {
        guard state == .down else { return false }
        state = .probing
        return true
    }

    /// Records that the probe has succeeded: the node is in use from now on.
    ///
    /// Returns whether to report the change, or nil if nothing changed.
    package mutating func succeed() -> Bool? {
        guard state == .probing else { return nil }
        let shouldReport = !isFlapping
        state = .up
        reason = nil
        hasServed = false
        return shouldReport
    }

    /// Records that the node has served a request.
    ///
    /// Returns whether to report that the node is up.
    package mutating func serve() -> Bool {
        guard state == .up, !hasServed else { return false }
        let shouldReport = isFlapping
        hasServed = true
        isFlapping = false
        failures = 0
        lastReason = nil
        return shouldReport
    }

    /// The action to take after a failure.
    package struct FailureAction: Equatable {
        /// When to probe next, in milliseconds from now.
        package var retryAfterMilliseconds: Int64
        /// Whether to report the failure: the node was serving, was never up, or its probes fail for a new reason.
        package var shouldReport: Bool
    }

    /// Records that the probe, or the node in use, has failed.
    ///
    /// Returns nil if that changes nothing.
    ///
    /// - Parameter jitter: a random number from 0 to 1; the pause is between half of its nominal length and all of it.
    package mutating func fail(_ reason: String, jitter: Double) -> FailureAction? {
        guard state == .probing || state == .up else { return nil }
        let shouldReport: Bool
        if state == .up, hasServed {
            shouldReport = true
        } else {
            isFlapping = isFlapping || state == .up
            shouldReport = (lastReason ?? self.reason) != reason
            lastReason = reason
            failures += 1
        }
        state = .down
        self.reason = reason
        let doublings = min(max(0, failures - 1), 20)
        let nominal = min(backOff.longestMilliseconds, backOff.firstMilliseconds << doublings)
        let pause = Double(nominal) * (0.5 + 0.5 * jitter)
        return FailureAction(retryAfterMilliseconds: max(1, Int64(pause)), shouldReport: shouldReport)
    }

    /// Stops using the node, for good.
    package mutating func stop() {
        state = .stopped
    }
}
