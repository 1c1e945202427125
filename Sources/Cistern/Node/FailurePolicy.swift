/// What becomes of requests while the node that keeps their organisation is out of reach.
public enum FailurePolicy: String, Sendable, CaseIterable {
    /// Let them through uncounted.
    case open
    /// Turn them away until the node is back.
    case closed
}
