public import Cistern
import Synchronization

/// A store that keeps every request until the test answers it.
public final class ScriptedStore: LeaseStore {
    public typealias Reply = @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void

    private struct State {
        var waiting: [(request: LeaseRequest, reply: Reply)] = []
        var count = 0
        var isReachable = true
    }

    private let state = Mutex(State())

    public init() {}

    public func isReachable(_ organization: Span<UInt8>) -> Bool {
        state.withLock { $0.isReachable }
    }

    public func setReachable(_ isReachable: Bool) {
        state.withLock { $0.isReachable = isReachable }
    }

    public func lease(_ request: LeaseRequest, reply: @escaping Reply) {
        state.withLock {
            $0.waiting.append((request, reply))
            $0.count += 1
        }
    }

    /// How many requests have been made.
    public var requestCount: Int { state.withLock { $0.count } }

    /// The oldest request that has no answer yet.
    public var next: LeaseRequest? { state.withLock { $0.waiting.first?.request } }

    /// Answers the oldest request; returns the means to answer it once more, as a duplicate would.
    @discardableResult
    public func answer(_ result: Result<Grant, LeaseFailure>, now: Instant) -> (@Sendable () -> Void) {
        let first = state.withLock { $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }
        first?.reply(result, now)
        return { first?.reply(result, now) }
    }
}

/// Decisions in the order in which they were made.
public final class DecisionLog: Sendable {
    private let decisions = Mutex<[Decision]>([])

    public init() {}

    public func add(_ decision: Decision) {
        decisions.withLock { $0.append(decision) }
    }

    public var all: [Decision] { decisions.withLock { $0 } }
    public var outcomes: [Decision.Outcome] { all.map(\.outcome) }
}
