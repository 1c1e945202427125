internal import Synchronization

/// How many bytes of unfinished bodies all connections together may keep.
final class BodyBudget: Sendable {
    private let maximumBytes: Int
    private let keptBytes = Atomic(0)

    init(maximumBytes: Int) {
        self.maximumBytes = maximumBytes
    }

    /// Lets a connection keep `bytes` instead of the `old` that it kept; returns whether that is within the bound.
    func exchange(_ old: Int, for bytes: Int) -> Bool {
        let sum = keptBytes.add(bytes - old, ordering: .relaxed).newValue
        return bytes <= old || sum <= maximumBytes
    }

    /// Bytes kept now, for tests.
    var bytes: Int { keptBytes.load(ordering: .relaxed) }
}

/// What one connection keeps of the budget.
struct BodyCharge {
    private let budget: BodyBudget
    private var bytes = 0

    init(to budget: BodyBudget) {
        self.budget = budget
    }

    /// Notes how many bytes are kept now; returns whether all connections together may.
    mutating func set(_ bytes: Int) -> Bool {
        defer { self.bytes = bytes }
        return budget.exchange(self.bytes, for: bytes)
    }

    /// Nothing is kept any more.
    mutating func release() {
        guard bytes > 0 else { return }
        _ = set(0)
    }
}
