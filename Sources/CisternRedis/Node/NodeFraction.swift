internal import Cistern
internal import CisternCluster
internal import Synchronization

/// This server's part of all limits, whichever connection it is renewed over.
final class NodeFraction: Sendable {
    /// The name under which the node has it on record.
    private let server: String
    let lease = Mutex(FractionLease())

    init(server: String) {
        self.server = server
    }

    /// The command that renews the part, or gives it up.
    func request(now: Instant, isLeaving: Bool = false) -> [[UInt8]] {
        FractionScript.command(server: server, lease.withLock { $0.ask(now: now) }, isLeaving: isLeaving)
    }

    /// Takes in the answer to a request that left at `sentAt`; returns whether it was one.
    @discardableResult
    func take(_ reply: RESPValue, sentAt: Instant, clockDriftPerMille: Int64) -> Bool {
        guard let granted = FractionScript.share(in: reply) else { return false }
        lease.withLock { $0.grant(granted.millionths, sentAt: sentAt, clockDriftPerMille: clockDriftPerMille) }
        return true
    }
}
