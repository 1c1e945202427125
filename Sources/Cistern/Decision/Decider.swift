/// Decides requests: the part of a limiter that a server needs.
///
/// A server takes any decider, so that a benchmark can run another algorithm behind the same server.
package protocol Decider: Sendable {
    /// Decides at once, or returns nil and later calls `resume` with the decision: exactly once, on any thread.
    ///
    /// `resume` is not called if this method returns a decision.
    func decide(
        _ key: Span<UInt8>, cost: Int, now: Instant, resume: @escaping @Sendable (Decision) -> Void
    ) -> Decision?
}

extension RateLimiterEngine: Decider {}
