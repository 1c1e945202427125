internal import Cistern
internal import CisternCluster
internal import Synchronization

/// This server's local fraction of all limits, independent of the connection that renews it.
final class NodeFraction: Sendable {
    /// The name under which the node records the fraction.
    private let server: String
    let lease = Mutex(FractionLease())

    init(server: String) {
        self.server = server
    }

    /// The command that renews the fraction, or gives it up if `isLeaving`.
    func request(now: Instant, isLeaving: Bool = false) -> [[UInt8]] {
        FractionScript.command(server: server, lease.withLock { $0.nextRequest(now: now) }, isLeaving: isLeaving)
    }

    /// Applies the reply to a request that left at `sentAt`; returns false if the reply is malformed.
    @discardableResult
    func take(_ reply: RESPValue, sentAt: Instant, clockDriftPerMille: Int64) -> Bool {
        guard let granted = FractionScript.fraction(in: reply) else { return false }
        lease.withLock { $0.grant(granted.millionths, sentAt: sentAt, clockDriftPerMille: clockDriftPerMille) }
        return true
    }
}
