/// Why a request is refused before anyone has looked at what it asks for.
///
/// The connection is closed after the answer, since where the next request begins is no longer sure.
struct RequestError: Error, Equatable {
    let status: Status
    let message: String

    /// It is not HTTP/1.1, for this reason.
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
        RequestError(status: .notImplemented, message: "the method '\(name)' is not known here: use GET, HEAD or POST")
    }

    static func tooSlow(_ milliseconds: Int64) -> RequestError {
        RequestError(status: .requestTimeout, message: "the request took over \(milliseconds) ms to arrive")
    }

    static var tooManyBodies: RequestError {
        RequestError(
            status: .serviceUnavailable, message: "too many bodies are on their way: send this one again later")
    }

    static func bodyTooLarge(_ maximumBytes: Int) -> RequestError {
        RequestError(status: .contentTooLarge, message: "the body is over \(maximumBytes) bytes: send less")
    }
}
