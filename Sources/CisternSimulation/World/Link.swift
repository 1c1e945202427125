internal import Cistern
internal import Synchronization

/// The store as a server's limiter sees it: requests are queued until the world sends them.
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

    /// Gives each key its own partition, which stays the same when the key moves to another node.
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

    /// Removes and returns the queued requests, in order.
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

/// A queue of slow-path decisions that the world has not handled yet.
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
