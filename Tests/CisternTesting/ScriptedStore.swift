package import Cistern
import Synchronization

/// A store that keeps every request until the test answers it.
package final class ScriptedStore: LeaseStore {
    package typealias Reply = @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void

    private struct State {
        var waiting: [(request: LeaseRequest, reply: Reply)] = []
        var count = 0
        var isReachable = true
    }

    private let state = Mutex(State())

    package init() {}

    package func isReachable(_ organization: Span<UInt8>) -> Bool {
        state.withLock { $0.isReachable }
    }

    package func setReachable(_ isReachable: Bool) {
        state.withLock { $0.isReachable = isReachable }
    }

    package func lease(_ request: LeaseRequest, reply: @escaping Reply) {
        state.withLock {
            $0.waiting.append((request, reply))
            $0.count += 1
        }
    }

    /// How many requests have been made.
    package var requestCount: Int { state.withLock { $0.count } }

    /// The oldest request that has no answer yet.
    package var next: LeaseRequest? { state.withLock { $0.waiting.first?.request } }

    /// Answers the oldest request; returns the means to answer it once more, as a duplicate would.
    @discardableResult
    package func answer(_ result: Result<Grant, LeaseFailure>, now: Instant) -> (@Sendable () -> Void) {
        let first = state.withLock { $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }
        first?.reply(result, now)
        return { first?.reply(result, now) }
    }
}

/// Decisions in the order in which they were made.
package final class DecisionLog: Sendable {
    private let decisions = Mutex<[Decision]>([])

    package init() {}

    package func add(_ decision: Decision) {
        decisions.withLock { $0.append(decision) }
    }

    package var all: [Decision] { decisions.withLock { $0 } }
    package var outcomes: [Decision.Outcome] { all.map(\.outcome) }
}

extension Grant {
    /// A grant of a store that has no paces running.
    package static func plain(
        _ tokens: Int, held: Int = 0, openMicrotokens: Int64 = 0, limit: Limit = .standard
    ) -> Grant {
        Grant(
            tokens: tokens, held: held, openMicrotokens: openMicrotokens,
            openRefillMicrotokensPerMillisecond: limit.refillMicrotokensPerMillisecond, outstanding: held + tokens)
    }
}
