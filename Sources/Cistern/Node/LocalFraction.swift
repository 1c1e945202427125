/// One server's fraction of every limit on an unreachable node.
public struct LocalFraction: Sendable, Hashable, BitwiseCopyable {
    /// The fraction, in millionths of the limit: 1 to 1,000,000.
    public var millionths: Int64
    /// When the node was lost.
    public var lostAt: Instant

    /// Creates a local fraction.
    public init(millionths: Int64, lostAt: Instant) {
        self.millionths = millionths
        self.lostAt = lostAt
    }

    /// How many servers may lease a key, if each of them has this fraction and has been restarted once.
    var lessees: Int { Int(2_000_000 / max(1, millionths)) }
}
