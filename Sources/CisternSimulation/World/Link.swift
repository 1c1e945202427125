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
        var unreachable: Set<BucketHome> = []
    }

    private let homes: [[UInt8]: BucketHome]
    private let state = Mutex(State())

    /// Each organisation has a home of its own: its bucket stays the same one wherever it moves.
    init(organizations: [[UInt8]]) {
        homes = Dictionary(uniqueKeysWithValues: zip(organizations, (0...).lazy.map { BucketHome(UInt16($0)) }))
    }

    func home(of organization: Span<UInt8>) -> BucketHome {
        homes[organization.withUnsafeBufferPointer { Array($0) }] ?? .only
    }

    func isReachable(_ home: BucketHome) -> Bool {
        state.withLock { !$0.unreachable.contains(home) }
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

    func setUnreachable(_ organizations: [[UInt8]]) {
        let unreachable = Set(organizations.compactMap { homes[$0] })
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
