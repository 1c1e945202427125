/// Where the data plane listens and the bounds it keeps.
package struct HTTPSettings: Sendable, Equatable {
    /// The address or name to listen on.
    package var host = "127.0.0.1"
    /// The TCP port; 0 lets the system choose a free one.
    package var port = 8080
    /// How many connections may be open; one more is answered 503 and closed.
    package var maximumConnections = 10_000
    /// The longest body, in bytes; a longer one is answered 413.
    package var maximumBodyBytes = 1 << 20
    /// The most bytes that names and values of one request's header fields may take; more are answered 431.
    package var maximumHeaderBytes = 32 << 10
    /// How long a request may take to arrive, in milliseconds; a slower one is answered 408.
    package var requestTimeoutMilliseconds: Int64 = 30_000
    /// How long a connection may stay open between two requests, in milliseconds.
    package var idleTimeoutMilliseconds: Int64 = 75_000

    /// How old a connection may get before an answer closes it, in milliseconds; 0 for any age.
    ///
    /// Each connection's own is up to a tenth shorter or longer, so that not all are closed at once.
    package var maximumConnectionAgeMilliseconds: Int64 = 0
    /// How many bytes of bodies that have not come whole may be kept, of all connections together.
    package var maximumBufferedBodyBytes = 64 << 20
    /// Whether `/health` and `/metrics` are served on this port; the operators' port has them in any case.
    package var servesOperatorPages = true

    package init() {}
}
