internal import Cistern
internal import CisternSupport
internal import NIOCore

/// The sender of a request: the organization and the user that its headers name.
package struct Identity {
    /// The bytes of the request, which contain both names.
    let bytes: ByteBuffer
    /// The range of the organization's name in ``bytes``; the name is ASCII that never needs escaping.
    let organization: Range<Int>
    /// The range of the user's name in ``bytes``, with the same characters.
    let user: Range<Int>

    /// The error response to a request without a valid identity.
    struct Failure: Error, Equatable {
        let status: Status
        let message: String
    }

    /// Reads the identity from the headers of a request; `text` must be the request's bytes.
    init(_ request: Request, _ text: Span<UInt8>) throws(Failure) {
        organization = try Self.name(request.organization, in: text, header: "x-org-id")
        user = try Self.name(request.user, in: text, header: "x-user-id")
        bytes = request.bytes
    }

    /// The organization's name, for a log.
    var organizationText: String { bytes.readableBytesUInt8Span.extracting(organization).text }

    private static func name(
        _ header: Request.SingleHeader, in bytes: Span<UInt8>, header name: StaticString
    ) throws(Failure) -> Range<Int> {
        switch header {
        case .missing:
            throw Failure(
                status: .unauthorized, message: "the header \(name) is missing: send both x-org-id and x-user-id")
        case .repeated:
            throw Failure(status: .badRequest, message: "the header \(name) occurs more than once: send it once")
        case .value(let range):
            let value = bytes.extracting(range)
            guard OrganizationName.isValid(value) else {
                let shown =
                    value.count > OrganizationName.maximumBytes ? "\(value.count) bytes long" : "'\(value.text)'"
                throw Failure(
                    status: .badRequest,
                    message:
                        "\(name) is \(shown): use 1 to \(OrganizationName.maximumBytes) characters of "
                        + "A-Z a-z 0-9 . _ : @ -"
                )
            }
            return range
        }
    }
}
