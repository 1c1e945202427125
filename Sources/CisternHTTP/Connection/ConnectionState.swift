/// The state of a connection.
enum ConnectionState {
    /// Between two requests.
    case idle
    /// Part of a request has arrived.
    case receiving
    /// The request waits for its decision.
    case deciding(RequestPipeline.PendingRequest, ResponseFraming)
    /// The last response is written; further input is discarded until the client closes.
    case lingering

    /// Whether requests are read.
    var isReading: Bool {
        switch self {
        case .idle, .receiving: true
        case .deciding, .lingering: false
        }
    }
}
