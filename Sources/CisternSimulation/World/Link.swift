internal import Cistern
internal import Synchronization

/// A server's way to the store, as its limiter sees it: requests are kept until the world takes them on.
final class Link: LeaseStore {
    struct Outgoing {
        let request: LeaseRequest
        let reply: @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    }

    private struct State {
        var outgoing: [Outgoing] = []
        var unreachable: Set<PartitionID> = []
    }

    private let partitions: [[UInt8]: PartitionID]
    private let state = Mutex(State())

    /// Each organization has a home of its own: its bucket stays the same one wherever it moves.
    init(keys: [[UInt8]]) {
        partitions = Dictionary(uniqueKeysWithValues: zip(keys, (0...).lazy.map { PartitionID(UInt16($0)) }))
    }

    func partition(of key: Span<UInt8>) -> PartitionID {
        partitions[key.withUnsafeBufferPointer { Array($0) }] ?? .only
    }

    func isReachable(_ partition: PartitionID) -> Bool {
        state.withLock { !$0.unreachable.contains(partition) }
    }

    func lease(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        state.withLock { $0.outgoing.append(Outgoing(request: request, reply: reply)) }
    }

    /// The requests made since the last call, in their order.
    func takeOutgoing() -> [Outgoing] {
        state.withLock { state in
            defer { state.outgoing.removeAll() }
            return state.outgoing
        }
    }

    func setUnreachable(_ keys: [[UInt8]]) {
        let unreachable = Set(keys.compactMap { partitions[$0] })
        state.withLock { $0.unreachable = unreachable }
    }
}

/// Decisions that came after a wait, until the world takes them on.
final class Inbox: Sendable {
    private let decisions = Mutex<[(ticket: Int, decision: Decision)]>([])

    func add(_ ticket: Int, _ decision: Decision) {
        decisions.withLock { $0.append((ticket, decision)) }
    }

    func take() -> [(ticket: Int, decision: Decision)] {
        decisions.withLock { decisions in
            defer { decisions.removeAll() }
            return decisions
        }
    }
}
