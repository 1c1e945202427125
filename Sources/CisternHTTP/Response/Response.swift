internal import Cistern
internal import NIOCore

/// What is sent back for one request, before it is bytes.
struct Response {
    /// The parts of an answer that are JSON or text.
    enum Content {
        /// An error as every error but 429 has it: reason, message and request id.
        case error(message: String)
        /// The body of a 429, with the decision's figures.
        case tooManyRequests
        /// The echo of `POST /chat`: what it says stands in the request.
        case chat
        /// A page of the operators' plane.
        case page(ByteBuffer, type: String)
        /// No body, and no header fields of one.
        case none
    }

    let status: Status
    let content: Content
    /// The decision whose figures go into the headers; nil where the request was not authenticated.
    var decision: Decision?
    /// Seconds for `Retry-After`; nil for none.
    var retryAfterSeconds: Int?
    /// The methods for `Allow`; nil for none.
    var allow: StaticString?

    static func error(_ status: Status, _ message: String) -> Response {
        Response(status: status, content: .error(message: message))
    }
}

/// How an answer is framed.
struct ResponseFraming {
    /// Whether the connection stays open for another request.
    var keepsAlive = true
    /// Whether the request came as HTTP/1.0, where staying open must be said.
    var isVersion10 = false
    /// Whether the body is left out, for HEAD.
    var omitsBody = false
}
