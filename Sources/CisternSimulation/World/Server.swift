internal import Cistern

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
    var link = Link()
    var inbox = Inbox()
    var health: [NodeHealth]
    var pending: [Int: Pending] = [:]
    /// Where each organisation is, as far as this server knows.
    var routes: [Int]
    /// Until when it stands still.
    var pausesUntil: Time = 0
    /// What came while it stood still.
    var backlog: [World.Event] = []
    /// When each organisation last had a request here.
    var lastArrivals: [Time?]

    /// The name under which its leases are recorded: another one after each start.
    var lessee: String { "server-\(id)-\(run)" }
}
