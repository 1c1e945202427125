/// The listening address and the limits of the data plane.
package struct HTTPSettings: Sendable, Equatable {
    /// The address or name to listen on.
    package var host = "127.0.0.1"
    /// The TCP port; 0 lets the system choose a free one.
    package var port = 8080
    /// The maximum number of open connections; a further one gets a 503 and is closed.
    package var maximumConnections = 10_000
    /// The maximum size of a body, in bytes; a larger one gets a 413.
    package var maximumBodyBytes = 1 << 20
    /// The maximum total size of one request's header names and values, in bytes; a larger one gets a 431.
    package var maximumHeaderBytes = 32 << 10
    /// How long a request may take to arrive, in milliseconds; a slower one gets a 408.
    package var requestTimeoutMilliseconds: Int64 = 30_000
    /// How long a connection may stay open between two requests, in milliseconds.
    package var idleTimeoutMilliseconds: Int64 = 75_000

    /// The maximum age of a connection, in milliseconds; 0 means no maximum.
    ///
    /// An older connection closes after its next response. A random jitter of up to 10 % either way keeps
    /// connections from closing all at once.
    package var maximumConnectionAgeMilliseconds: Int64 = 0
    /// The maximum total size of incomplete bodies that all connections together buffer, in bytes.
    package var maximumBufferedBodyBytes = 64 << 20
    /// Whether this port serves `/health` and `/metrics`; the admin port always serves them.
    package var servesHealthAndMetrics = true

    package init() {}
}
