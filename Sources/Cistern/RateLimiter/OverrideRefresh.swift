internal import Synchronization

/// The overrides that were last applied to a limiter.
final class OverrideRefresh: Sendable {
    private let applied = Mutex<[String: Limit]>([:])

    /// Notes the overrides in force, and returns whether they differ from the last ones.
    func isChange(_ overrides: [String: Limit]) -> Bool {
        applied.withLock { applied in
            guard applied != overrides else { return false }
            applied = overrides
            return true
        }
    }
}
