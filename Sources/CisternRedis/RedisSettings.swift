public import NIOSSL

/// The bounds of the link to one Redis node.
public struct RedisSettings: Sendable {
    /// How long connecting and logging in may take, in milliseconds.
    public var connectTimeoutMilliseconds: Int64 = 1000
    /// How many requests may wait for the node at once; for more the failure policy decides at once.
    public var maximumPendingRequests = 10_000
    /// The pause before the first new attempt after a failure, in milliseconds; it doubles with each further one.
    public var firstRetryMilliseconds: Int64 = 50
    /// The longest pause between attempts, in milliseconds.
    public var longestRetryMilliseconds: Int64 = 1000
    /// The certificates trusted to sign a `rediss://` node's; the system's unless set.
    public var trustRoots = NIOSSLTrustRoots.default

    /// The settings that suit most services.
    public init() {}
}
