internal import NIOCore

/// One request as the chain sees it: its bytes as they came, and where in them is what matters.
///
/// Nothing is copied out of them, so a request costs no string and no dictionary. Ranges count from the first readable
/// byte.
struct Request {
    enum Method: Equatable {
        case get
        case head
        case post
        case options
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
        case value(Range<Int>)
        case repeated

        mutating func add(_ value: Range<Int>) {
            self = self == .missing ? .value(value) : .repeated
        }
    }

    /// The head, and behind it the body, freed of its chunks.
    var bytes: ByteBuffer
    var method: Method
    /// The path without the query.
    var path: Range<Int>
    var bodyFormat = BodyFormat.opaque
    var organization = SingleHeader.missing
    var user = SingleHeader.missing
    var body: Range<Int>
}
