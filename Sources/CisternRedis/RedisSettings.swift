internal import Cistern
public import NIOSSL

/// Timeouts, bounds and TLS settings of the connections to the Redis nodes.
public struct RedisSettings: Sendable {
    package var connectTimeoutMilliseconds: Int64 = 1000
    package var firstRetryMilliseconds: Int64 = 50
    package var longestRetryMilliseconds: Int64 = 1000
    package var heartbeatMilliseconds: Int64 = 1000

    /// The timeout for connecting and logging in, 10 ms to 60 s; also the heartbeat timeout of an idle connection.
    public var connectTimeout: Duration {
        get { .milliseconds(connectTimeoutMilliseconds) }
        set { connectTimeoutMilliseconds = newValue.wholeMilliseconds }
    }
    /// How many requests may be pending on one node, 1 to 10^6; beyond it the failure policy decides immediately.
    public var maximumPendingRequests = 10_000
    /// The delay before the first reconnection attempt, 1 ms to 60 s; it doubles with each further attempt.
    public var firstRetry: Duration {
        get { .milliseconds(firstRetryMilliseconds) }
        set { firstRetryMilliseconds = newValue.wholeMilliseconds }
    }
    /// The longest delay between attempts, 1 ms to 10 min.
    public var longestRetry: Duration {
        get { .milliseconds(longestRetryMilliseconds) }
        set { longestRetryMilliseconds = newValue.wholeMilliseconds }
    }
    /// How many requests are sent to a recovered node in the first 100 ms, 1 to 10^6.
    ///
    /// The bound doubles in each of the next four 100 ms steps; after that there is none. The failure policy decides
    /// the remaining requests.
    public var firstRequestsAfterRecovery = 1000
    /// The heartbeat interval, 10 ms to 24 h: a connection that has been idle for this long is probed.
    public var heartbeat: Duration {
        get { .milliseconds(heartbeatMilliseconds) }
        set { heartbeatMilliseconds = newValue.wholeMilliseconds }
    }
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

    /// Creates the default settings, which suit most services.
    public init() {}
}
