internal import Synchronization

/// The overrides that were last applied to a limiter.
final class AppliedOverrides: Sendable {
    private let applied = Mutex<[String: Limit]>([:])

    /// Replaces the overrides; returns whether they differ from the last ones.
    func update(_ overrides: [String: Limit]) -> Bool {
        applied.withLock { applied in
            guard applied != overrides else { return false }
            applied = overrides
            return true
        }
    }
}
