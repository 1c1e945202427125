/// How requests are decided while the node that keeps their key's bucket is unreachable.
public enum FailurePolicy: String, Sendable, CaseIterable {
    /// Admit them without metering.
    case open
    /// Refuse them until the node is back.
    case closed
    /// Meter them against this server's local fraction of the limit; refuse them if it knows of no fraction.
    ///
    /// The fractions of all servers that use this policy add up to at most the limit.
    case local
}
