internal import Synchronization

/// The limit on the bytes that all connections together buffer for incomplete request bodies.
final class BodyBudget: Sendable {
    private let maximumBytes: Int
    private let keptBytes = Atomic(0)

    init(maximumBytes: Int) {
        self.maximumBytes = maximumBytes
    }

    /// Changes a connection's charge from `old` to `bytes`; returns false if it grew and the total exceeds the limit.
    func updateCharge(_ old: Int, for bytes: Int) -> Bool {
        let sum = keptBytes.add(bytes - old, ordering: .relaxed).newValue
        return bytes <= old || sum <= maximumBytes
    }

    /// The bytes charged now, for tests.
    var bytes: Int { keptBytes.load(ordering: .relaxed) }
}

/// One connection's charge to the budget.
struct BodyBudgetReservation {
    private let budget: BodyBudget
    private var bytes = 0

    init(to budget: BodyBudget) {
        self.budget = budget
    }

    /// Sets the charge to `bytes`; returns false if it grew and the budget is exceeded.
    mutating func set(_ bytes: Int) -> Bool {
        defer { self.bytes = bytes }
        return budget.updateCharge(self.bytes, for: bytes)
    }

    /// Sets the charge to zero.
    mutating func release() {
        guard bytes > 0 else { return }
        _ = set(0)
    }
}
