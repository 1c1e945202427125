/// Where a connection stands.
enum ConnectionState {
    /// Between two requests.
    case idle
    /// Some of a request has come, and not all of it.
    case receiving
    /// The request waits for its decision.
    case deciding(RequestChain.Metered, ResponseFraming)
    /// The last answer is out; whatever still comes is thrown away until the client hangs up.
    case lingering

    /// Whether requests are read.
    var isReading: Bool {
        switch self {
        case .idle, .receiving: true
        case .deciding, .lingering: false
        }
    }
}
