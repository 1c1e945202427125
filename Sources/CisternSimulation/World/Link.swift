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
        var unreachable: Set<[UInt8]> = []
    }

    private let state = Mutex(State())

    func isReachable(_ organization: Span<UInt8>) -> Bool {
        state.withLock { state in
            state.unreachable.isEmpty
                || !state.unreachable.contains(organization.withUnsafeBufferPointer { Array($0) })
        }
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
        state.withLock { $0.unreachable = Set(organizations) }
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
