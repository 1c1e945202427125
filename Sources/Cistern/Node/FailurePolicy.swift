/// What becomes of requests while the node that keeps their organization is out of reach.
public enum FailurePolicy: String, Sendable, CaseIterable {
    /// Let them through uncounted.
    case open
    /// Turn them away until the node is back.
    case closed
    /// Go on metering at this server's part of the limit; turn them away where it knows of none.
    ///
    /// The parts of all servers that use this policy add up to the limit at most.
    case local
}
