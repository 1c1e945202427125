/// A store that other servers share: it answers lease requests, some time later.
public protocol LeaseStore: Sendable {
    /// Whether the node that keeps this organisation is believed to be up. Answers from memory.
    func isReachable(_ organization: Span<UInt8>) -> Bool

    /// Carries one request to the store.
    ///
    /// `reply` is called exactly once, with the answer or with why there is none, by the request's deadline at the
    /// latest, on any thread, and perhaps before this returns; with it, the instant at which that became known.
    func lease(
        _ request: LeaseRequest,
        reply: @escaping @Sendable (_ result: Result<Grant, LeaseFailure>, _ now: Instant) -> Void
    )
}
