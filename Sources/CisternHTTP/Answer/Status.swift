/// The status codes that the data plane answers with.
package enum Status: Int, Sendable, CaseIterable {
    case ok = 200
    case badRequest = 400
    case unauthorized = 401
    case notFound = 404
    case methodNotAllowed = 405
    case requestTimeout = 408
    case contentTooLarge = 413
    case expectationFailed = 417
    case tooManyRequests = 429
    case headerFieldsTooLarge = 431
    case serviceUnavailable = 503
    case versionNotSupported = 505

    /// Where it stands among all of them.
    var position: Int {
        switch self {
        case .ok: 0
        case .badRequest: 1
        case .unauthorized: 2
        case .notFound: 3
        case .methodNotAllowed: 4
        case .requestTimeout: 5
        case .contentTooLarge: 6
        case .expectationFailed: 7
        case .tooManyRequests: 8
        case .headerFieldsTooLarge: 9
        case .serviceUnavailable: 10
        case .versionNotSupported: 11
        }
    }

    /// The reason phrase, as RFC 9110 and RFC 6585 have it.
    var reason: StaticString {
        switch self {
        case .ok: "OK"
        case .badRequest: "Bad Request"
        case .unauthorized: "Unauthorized"
        case .notFound: "Not Found"
        case .methodNotAllowed: "Method Not Allowed"
        case .requestTimeout: "Request Timeout"
        case .contentTooLarge: "Content Too Large"
        case .expectationFailed: "Expectation Failed"
        case .tooManyRequests: "Too Many Requests"
        case .headerFieldsTooLarge: "Request Header Fields Too Large"
        case .serviceUnavailable: "Service Unavailable"
        case .versionNotSupported: "HTTP Version Not Supported"
        }
    }
}
