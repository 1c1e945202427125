internal import Cistern

/// Whether one node of the store is to be used, and when to try it again: a state machine without IO.
///
/// A node is up from the moment a probe succeeds until anything fails on it. While it is down nothing is sent to it
/// but one probe at a time, after pauses that double up to a bound and are spread at random, so that the servers of a
/// fleet do not all come back in the same instant.
package struct NodeHealth: Sendable {
    /// What is known of the node.
    package enum State: Sendable, Equatable {
        /// Not used: waiting to try it again.
        case down
        /// Not used: a probe is under way.
        case probing
        /// In use.
        case up
        /// Not used, and never again.
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
    /// Failures in a row, of probes and of a node that was up but has not served a request yet.
    private var failures = 0
    /// Why the last of those failed.
    private var lastReason: String?
    /// Whether the node has served a request since it came up.
    ///
    /// Until then its failures count like those of probes, or one that takes probes and nothing else would be tried and
    /// told of without a pause.
    private var hasServed = false
    /// Whether the last failure was one of a node that was up and had not served.
    private var isFlapping = false
    private let backOff: BackOff

    package init(backOff: BackOff = BackOff()) {
        self.backOff = backOff
    }

    /// A probe is due.
    ///
    /// Returns whether to start one.
    package mutating func probe() -> Bool {
        guard state == .down else { return false }
        state = .probing
        return true
    }

    /// The probe has succeeded: the node is to be used from now on.
    ///
    /// Returns whether that is news, or nil where it changes nothing.
    package mutating func succeed() -> Bool? {
        guard state == .probing else { return nil }
        let isNews = !isFlapping
        state = .up
        reason = nil
        hasServed = false
        return isNews
    }

    /// The node has served a request.
    ///
    /// Returns whether that is news.
    package mutating func serve() -> Bool {
        guard state == .up, !hasServed else { return false }
        let isNews = isFlapping
        hasServed = true
        isFlapping = false
        failures = 0
        lastReason = nil
        return isNews
    }

    /// What to do about a failure.
    package struct FailureAction: Equatable {
        /// When to probe next, in milliseconds from now.
        package var retryAfterMilliseconds: Int64
        /// Whether to tell: the node was up, or has never been, or its probes now fail for another reason.
        package var isNews: Bool
    }

    /// The probe, or the node in use, has failed.
    ///
    /// Returns nil where that changes nothing.
    ///
    /// - Parameter jitter: a random number from 0 to 1; the pause is between half of its nominal length and all of it.
    package mutating func fail(_ reason: String, jitter: Double) -> FailureAction? {
        guard state == .probing || state == .up else { return nil }
        let isNews: Bool
        if state == .up, hasServed {
            isNews = true
        } else {
            isFlapping = isFlapping || state == .up
            isNews = (lastReason ?? self.reason) != reason
            lastReason = reason
            failures += 1
        }
        state = .down
        self.reason = reason
        let doublings = min(max(0, failures - 1), 20)
        let nominal = min(backOff.longestMilliseconds, backOff.firstMilliseconds << doublings)
        let pause = Double(nominal) * (0.5 + 0.5 * jitter)
        return FailureAction(retryAfterMilliseconds: max(1, Int64(pause)), isNews: isNews)
    }

    /// The node will not be used any more.
    package mutating func stop() {
        state = .stopped
    }
}
