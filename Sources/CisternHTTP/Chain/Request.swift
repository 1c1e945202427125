internal import NIOCore

/// One request as the chain sees it, whatever has read it off the wire.
struct Request {
    enum Method: Equatable {
        case get
        case head
        case post
        case other
    }

    /// How a body is to be read, by its content type.
    enum BodyFormat: Equatable {
        case json
        case form
        /// None, or one that is of no interest here: the body is not looked into.
        case opaque
    }

    /// A header that must stand there once.
    enum SingleHeader: Equatable {
        case missing
        case value(String)
        case repeated

        mutating func add(_ value: String) {
            self = self == .missing ? .value(value) : .repeated
        }
    }

    var method: Method
    /// The path without the query.
    var path: String
    var bodyFormat = BodyFormat.opaque
    var organization = SingleHeader.missing
    var user = SingleHeader.missing
    var body = ByteBuffer()
}
