public import NIOSSL

/// Timeouts, bounds and TLS settings of the connections to the Redis nodes.
public struct RedisSettings: Sendable {
    /// The timeout for connecting and logging in, in milliseconds; also the heartbeat timeout of an idle connection.
    public var connectTimeoutMilliseconds: Int64 = 1000
    /// How many requests may be pending on one node; beyond it the failure policy decides immediately.
    public var maximumPendingRequests = 10_000
    /// The delay before the first reconnection attempt, in milliseconds; it doubles with each further attempt.
    public var firstRetryMilliseconds: Int64 = 50
    /// The longest delay between attempts, in milliseconds.
    public var longestRetryMilliseconds: Int64 = 1000
    /// How many requests are sent to a recovered node in the first 100 ms.
    ///
    /// The bound doubles in each of the next four 100 ms steps; after that there is none. The failure policy decides
    /// the remaining requests.
    public var firstRequestsAfterRecovery = 1000
    /// The heartbeat interval, in milliseconds: a connection that has been idle for this long is probed.
    public var heartbeatMilliseconds: Int64 = 1000
    /// The TLS configuration for `rediss://` nodes: trusted certificates, client certificate, name verification.
    ///
    /// The default trusts the system's certificates, verifies names, and rejects versions before TLS 1.2.
    public var tls: TLSConfiguration = {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv12
        return tls
    }()
    /// The name to verify in the nodes' certificates; nil for the host in the URL.
    public var serverName: String?
    /// Whether this server keeps a local fraction of all limits, for the failure policy `local`.
    ///
    /// It costs each node one command per second. All servers that share the nodes should use the same value.
    public var keepsLocalFraction = false
    /// How much faster or slower this server's clock may run than the nodes' clocks, in thousandths.
    public var clockDriftPerMille: Int64 = 20

    /// Creates the default settings, which suit most services.
    public init() {}
}
