internal import Cistern
internal import CisternCluster

/// One server: a limiter, its way to the nodes, and a clock of its own.
struct Server {
    /// A request to a node that has not been answered.
    struct Pending {
        let message: Message
        let node: Int
        let deadline: Instant
        let reply: (@Sendable (Result<Grant, LeaseFailure>, Instant) -> Void)?
        /// Whether the limiter has been told how it came out; what comes afterwards it must ignore.
        var isDone = false
    }

    let id: Int
    /// Counts the times that it was started.
    var run = 0
    var isUp = true
    var clock: DriftingClock
    var limiter: SimulatedLimiter
    var link: Link
    var inbox = Inbox()
    var health: [NodeHealth]
    var pending: [Int: Pending] = [:]
    /// Those that are done, for a while: answers may still come late or twice.
    var done: [Int: Pending] = [:]
    var doneOrder: [(ticket: Int, at: Time)] = []
    /// Where each organization is, as far as this server knows.
    var routes: [Int]
    /// Until when it stands still.
    var pausesUntil: Time = 0
    /// What came while it stood still.
    var backlog: [World.Event] = []
    /// When each organization last had a request here.
    var lastArrivals: [Time?]

    /// A request that waits for its answer, or did not long ago.
    func pending(_ ticket: Int) -> Pending? { pending[ticket] ?? done[ticket] }

    mutating func await(_ request: Pending, ticket: Int) {
        pending[ticket] = request
    }

    /// The limiter has been told how a request came out.
    mutating func finish(_ ticket: Int, now: Time) {
        guard var request = pending.removeValue(forKey: ticket) else { return }
        request.isDone = true
        done[ticket] = request
        doneOrder.append((ticket, now))
        // No message is under way for longer than this.
        guard doneOrder.count >= 1000 else { return }
        let old = doneOrder.prefix { now - $0.at > .milliseconds(60_000) }
        for request in old { done[request.ticket] = nil }
        doneOrder.removeFirst(old.count)
    }

    /// Nothing is answered any more.
    mutating func forgetPending() {
        pending.removeAll()
        done.removeAll()
        doneOrder.removeAll()
    }

    /// The name under which its leases are recorded: another one after each start.
    var lesseeID: String { "server-\(id)-\(run)" }
}
