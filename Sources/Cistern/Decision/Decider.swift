/// Whatever decides requests: what a server asks of its limiter, and no more.
///
/// A server takes any of them, so that a benchmark can put another algorithm behind the same server.
package protocol Decider: Sendable {
    /// Decides, or returns nil and calls `resume` once it has: on any thread, once.
    ///
    /// `resume` is not called where this returns a decision.
    func decide(
        _ key: Span<UInt8>, cost: Int, now: Instant, resume: @escaping @Sendable (Decision) -> Void
    ) -> Decision?
}

extension RateLimiter: Decider {}
