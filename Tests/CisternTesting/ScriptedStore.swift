package import Cistern
import Synchronization

/// A store that keeps every request until the test answers it.
package final class ScriptedStore: LeaseStore {
    package typealias Reply = @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void

    private struct State {
        var waiting: [(request: LeaseRequest, reply: Reply)] = []
        var count = 0
        var unreachable: Set<PartitionID> = []
        var partitions: [[UInt8]: PartitionID] = [:]
        var share: LocalFraction?
    }

    private let state = Mutex(State())

    package init() {}

    package func partition(of key: Span<UInt8>) -> PartitionID {
        // No allocation unless a partition was set: `AllocationTests` relies on it.
        guard state.withLock({ !$0.partitions.isEmpty }) else { return .only }
        let name = key.withUnsafeBufferPointer { Array($0) }
        return state.withLock { $0.partitions[name] ?? .only }
    }

    package func setPartition(of key: String, to partition: PartitionID) {
        state.withLock { $0.partitions[Array(key.utf8)] = partition }
    }

    package func isReachable(_ partition: PartitionID) -> Bool {
        state.withLock { !$0.unreachable.contains(partition) }
    }

    package func setReachable(_ isReachable: Bool, partition: PartitionID = .only) {
        state.withLock { state in
            if isReachable { state.unreachable.remove(partition) } else { state.unreachable.insert(partition) }
        }
    }

    package func localFraction(of partition: PartitionID) -> LocalFraction? {
        state.withLock { $0.unreachable.contains(partition) ? $0.share : nil }
    }

    package func setLocalFraction(_ share: LocalFraction?) {
        state.withLock { $0.share = share }
    }

    package func lease(_ request: LeaseRequest, reply: @escaping Reply) {
        state.withLock {
            $0.waiting.append((request, reply))
            $0.count += 1
        }
    }

    /// How many requests have been made.
    package var requestCount: Int { state.withLock { $0.count } }

    /// The oldest request without a reply.
    package var next: LeaseRequest? { state.withLock { $0.waiting.first?.request } }

    /// Answers the oldest request; the returned function delivers the same reply once more, as a duplicate.
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
    /// A grant of a store that has no trickle grants outstanding.
    package static func plain(
        _ tokens: Int, held: Int = 0, openUnits: Int64 = 0, limit: Limit = .standard
    ) -> Grant {
        Grant(
            tokens: tokens, held: held, openUnits: openUnits,
            openRefillUnitsPerMillisecond: limit.refillUnitsPerMillisecond, outstanding: held + tokens)
    }
}
