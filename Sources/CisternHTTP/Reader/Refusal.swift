/// Why a request is refused before anyone has looked at what it asks for.
///
/// The connection is closed after the answer, since where the next request begins is no longer sure.
struct Refusal: Error, Equatable {
    let status: Status
    let message: String

    /// It is not HTTP/1.1, for this reason.
    static func malformed(_ why: String) -> Refusal {
        Refusal(status: .badRequest, message: "the request is not well-formed HTTP/1.1: \(why)")
    }

    static var version: Refusal {
        Refusal(status: .versionNotSupported, message: "this server speaks HTTP/1.1 and HTTP/1.0")
    }

    static var headerTooLarge: Refusal {
        Refusal(status: .headerFieldsTooLarge, message: "the header fields are too large: send fewer")
    }

    static func bodyTooLarge(_ maximumBytes: Int) -> Refusal {
        Refusal(status: .contentTooLarge, message: "the body is over \(maximumBytes) bytes: send less")
    }
}
