/// One server's part of every limit on a node that is out of reach.
public struct LocalFraction: Sendable, Hashable, BitwiseCopyable {
    /// The part, in millionths of the limit, 1 to 1,000,000.
    public var millionths: Int64
    /// When the node was lost.
    public var lostAt: Instant

    /// Creates a part.
    public init(millionths: Int64, lostAt: Instant) {
        self.millionths = millionths
        self.lostAt = lostAt
    }
}
