/// The error response to a request that is rejected before it is routed.
///
/// The connection closes after the response, because the start of the next request is uncertain.
struct RequestError: Error, Equatable {
    let status: Status
    let message: String

    /// The request is not valid HTTP/1.1; `why` is the reason.
    static func malformed(_ why: String) -> RequestError {
        RequestError(status: .badRequest, message: "the request is not well-formed HTTP/1.1: \(why)")
    }

    static var version: RequestError {
        RequestError(status: .versionNotSupported, message: "this server speaks HTTP/1.1 and HTTP/1.0")
    }

    static var headerTooLarge: RequestError {
        RequestError(status: .headerFieldsTooLarge, message: "the header fields are too large: send fewer")
    }

    static var targetTooLong: RequestError {
        RequestError(status: .targetTooLong, message: "the request line is too long: shorten the target")
    }

    static func unknownMethod(_ name: String) -> RequestError {
        RequestError(status: .notImplemented, message: "the method '\(name)' is unknown: use GET, HEAD or POST")
    }

    static func tooSlow(_ milliseconds: Int64) -> RequestError {
        RequestError(status: .requestTimeout, message: "the request took over \(milliseconds) ms to arrive")
    }

    static var tooManyBodies: RequestError {
        RequestError(
            status: .serviceUnavailable, message: "too many request bodies are in flight: retry later")
    }

    static func bodyTooLarge(_ maximumBytes: Int) -> RequestError {
        RequestError(status: .contentTooLarge, message: "the body is over \(maximumBytes) bytes: send less")
    }
}
