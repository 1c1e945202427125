internal import NIOCore

/// A parsed request: its bytes, and the ranges of the parts that the server uses.
///
/// Parsing copies no part, so a request allocates no string and no dictionary. The ranges are relative to the first
/// readable byte.
struct Request {
    enum Method: Equatable {
        case get
        case head
        case post
        case options
        case other
    }

    /// The format of a body, according to its content type.
    enum BodyFormat: Equatable {
        case json
        case form
        /// No content type, or an unsupported one: the body is not parsed.
        case opaque
    }

    /// A header that must occur exactly once.
    enum SingleHeader: Equatable {
        case missing
        case value(Range<Int>)
        case repeated

        mutating func add(_ value: Range<Int>) {
            self = self == .missing ? .value(value) : .repeated
        }
    }

    /// The head, followed by the body without its chunk framing.
    var bytes: ByteBuffer
    var method: Method
    /// The path without the query.
    var path: Range<Int>
    var bodyFormat = BodyFormat.opaque
    var organization = SingleHeader.missing
    var user = SingleHeader.missing
    var body: Range<Int>
}
