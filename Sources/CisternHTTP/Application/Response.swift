internal import Cistern
internal import NIOCore

/// The response to one request, before serialization.
struct Response {
    /// The body of a response.
    enum Content {
        /// The body of any error except 429: reason, message and request ID.
        case error(message: String)
        /// The body of a 429, with the decision's numbers.
        case tooManyRequests
        /// The echo of `POST /chat`, which is built from the request.
        case chat
        /// A page for operators.
        case page(ByteBuffer, type: String)
        /// No body, and no header fields that describe one.
        case none
    }

    let status: Status
    let content: Content
    /// The decision whose numbers go into the headers; nil if the response needed no decision.
    var decision: Decision?
    /// Seconds for `Retry-After`; nil for none.
    var retryAfterSeconds: Int?
    /// The methods for `Allow`; nil for none.
    var allow: StaticString?

    static func error(_ status: Status, _ message: String) -> Response {
        Response(status: status, content: .error(message: message))
    }
}

/// The framing of a response.
struct ResponseFraming {
    /// Whether the connection stays open for another request.
    var keepsAlive = true
    /// Whether the request is HTTP/1.0, whose responses must state that the connection stays open.
    var isVersion10 = false
    /// Whether the body is left out, for HEAD.
    var omitsBody = false
}
