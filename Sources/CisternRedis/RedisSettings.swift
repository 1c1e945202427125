public import NIOSSL

/// The bounds of the links to the Redis nodes.
public struct RedisSettings: Sendable {
    /// How long connecting and logging in may take, in milliseconds; so long an idle connection may go unanswered, too.
    public var connectTimeoutMilliseconds: Int64 = 1000
    /// How many requests may wait for one node at once; for more the failure policy decides at once.
    public var maximumPendingRequests = 10_000
    /// The pause before the first new attempt after a failure, in milliseconds; it doubles with each further one.
    public var firstRetryMilliseconds: Int64 = 50
    /// The longest pause between attempts, in milliseconds.
    public var longestRetryMilliseconds: Int64 = 1000
    /// How many requests a node is sent in the first tenth of a second after it has come back; in each of the four that
    /// follow it is twice as many, and then all.
    ///
    /// For the others the failure policy decides meanwhile.
    public var firstRequestsAfterRecovery = 1000
    /// How often a connection that is idle is tried, in milliseconds.
    public var heartbeatMilliseconds: Int64 = 1000
    /// What `rediss://` nodes are checked against, and what is shown to them: trusted certificates, a certificate of this
    /// server's own, whether names are checked.
    ///
    /// Unless set, the system's certificates are trusted, and names are checked.
    /// Versions before TLS 1.2 are refused.
    public var tls: TLSConfiguration = {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv12
        return tls
    }()
    /// The name that the nodes' certificates must be for; the host in the URL unless set.
    public var serverName: String?
    /// Whether to keep a part of all limits for the failure policy `local`, at a command a second to each node.
    ///
    /// All servers that share the nodes should say the same.
    public var keepsLocalFraction = false
    /// How much faster or slower than the nodes' clocks this server's may run, in thousandths.
    public var clockDriftPerMille: Int64 = 20

    /// The settings that suit most services.
    public init() {}
}
