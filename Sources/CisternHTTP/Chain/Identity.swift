internal import Cistern
internal import CisternSupport
internal import NIOCore

/// Who makes a request: a user of an organization, as the headers say it.
package struct Identity {
    /// The request in whose headers they stand.
    let bytes: ByteBuffer
    /// Where the organization's name is in ``bytes``: ASCII that needs no escaping anywhere.
    let organization: Range<Int>
    /// Where the user's name is.
    let user: Range<Int>

    /// Why a request has no identity: what to answer.
    struct Failure: Error, Equatable {
        let status: Status
        let message: String
    }

    /// Reads it off a request, whose bytes `text` are.
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
            throw Failure(status: .badRequest, message: "the header \(name) stands there more than once: send it once")
        case .value(let range):
            let value = bytes.extracting(range)
            guard OrganizationName.isValid(value) else {
                let shown =
                    value.count > OrganizationName.maximumBytes ? "\(value.count) bytes long" : "'\(value.text)'"
                throw Failure(
                    status: .badRequest,
                    message:
                        "\(name) is \(shown): use 1 to \(OrganizationName.maximumBytes) characters of A-Z a-z 0-9 . _ : @ -"
                )
            }
            return range
        }
    }
}
