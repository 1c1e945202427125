internal import Cistern
internal import CisternCluster
internal import Synchronization

/// This server's local fraction of all limits, independent of the connection that renews it.
final class NodeFraction: Sendable {
    /// The name under which the node records the fraction.
    private let server: String
    private let names: KeyNames
    let lease = Mutex(FractionLease())

    init(_ context: StoreContext) {
        server = context.server
        names = context.names
    }

    /// The command that renews the fraction, or gives it up if `isLeaving`.
    func request(now: Instant, isLeaving: Bool = false) -> [[UInt8]] {
        let ask = lease.withLock { $0.nextRequest(now: now) }
        return FractionScript.command(names, server: server, ask, isLeaving: isLeaving)
    }

    /// Applies the reply to a request that left at `sentAt`; returns false if the reply is malformed.
    @discardableResult
    func take(_ reply: RESPValue, sentAt: Instant, clockDriftPerMille: Int64) -> Bool {
        guard let granted = FractionScript.fraction(in: reply) else { return false }
        lease.withLock { $0.grant(granted.millionths, sentAt: sentAt, clockDriftPerMille: clockDriftPerMille) }
        return true
    }
}
