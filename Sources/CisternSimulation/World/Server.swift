internal import Cistern
internal import CisternCluster

/// One server: a limiter, a link to the nodes, and a drifting clock.
struct Server {
    /// A request to a node, waiting for its answer or recently completed.
    struct Pending {
        let message: Message
        let node: Int
        let deadline: Instant
        let reply: (@Sendable (Result<Grant, LeaseFailure>, Instant) -> Void)?
        /// Whether the limiter has the result; it must ignore later answers.
        var isDone = false
    }

    let id: Int
    /// The number of restarts so far.
    var incarnation = 0
    var isUp = true
    var clock: DriftingClock
    var limiter: SimulatedLimiter
    var link: Link
    var inbox = Inbox()
    var health: [NodeHealth]
    var pending: [Int: Pending] = [:]
    /// Completed requests, kept for a while because answers may arrive late or twice.
    var done: [Int: Pending] = [:]
    var doneOrder: [(ticket: Int, at: Time)] = []
    /// The node of each key, as far as this server knows.
    var routes: [Int]
    /// The server is paused until this time.
    var pausesUntil: Time = 0
    /// Events received while the server was paused.
    var backlog: [World.Event] = []
    /// When this server last received a request for each key.
    var lastArrivals: [Time?]

    /// Returns the request with this ticket, waiting or recently completed.
    func pending(_ ticket: Int) -> Pending? { pending[ticket] ?? done[ticket] }

    mutating func await(_ request: Pending, ticket: Int) {
        pending[ticket] = request
    }

    /// Marks a request as completed: the limiter has its result.
    mutating func finish(_ ticket: Int, now: Time) {
        guard var request = pending.removeValue(forKey: ticket) else { return }
        request.isDone = true
        done[ticket] = request
        doneOrder.append((ticket, now))
        // No message is in transit for longer than a minute, so older requests can be removed.
        guard doneOrder.count >= 1000 else { return }
        let old = doneOrder.prefix { now - $0.at > .milliseconds(60_000) }
        for request in old { done[request.ticket] = nil }
        doneOrder.removeFirst(old.count)
    }

    /// Forgets all requests, so that later answers are ignored.
    mutating func forgetPending() {
        pending.removeAll()
        done.removeAll()
        doneOrder.removeAll()
    }

    /// The lessee ID of its leases; each start gets a new one.
    var lesseeID: String { "server-\(id)-\(incarnation)" }
}
