internal import DequeModule

/// The entries to check for idleness, in order of their due times.
struct IdleChecks: Sendable {
    private var checks: Deque<IdleCheck> = []

    var count: Int { checks.count }

    mutating func append(index: Int, due: Instant) {
        checks.append(IdleCheck(index, due: due))
    }

    /// Removes the first check if it is due, and returns its entry's index.
    mutating func popDue(at now: Instant) -> Int? {
        guard let first = checks.first, first.isDue(at: now) else { return nil }
        checks.removeFirst()
        return first.index
    }
}
