internal import Cistern

/// Who makes a request: a user of an organisation, as the headers say it.
package struct Identity: Equatable {
    let organization: String
    let user: String

    /// Why a request has no identity: what to answer.
    struct Failure: Error, Equatable {
        let status: Status
        let message: String
    }

    init(_ request: Request) throws(Failure) {
        organization = try Self.name(request.organization, header: "x-org-id")
        user = try Self.name(request.user, header: "x-user-id")
    }

    private static func name(_ header: Request.SingleHeader, header name: String) throws(Failure) -> String {
        switch header {
        case .missing:
            throw Failure(
                status: .unauthorized, message: "the header \(name) is missing: send both x-org-id and x-user-id")
        case .repeated:
            throw Failure(status: .badRequest, message: "the header \(name) stands there more than once: send it once")
        case .value(let value):
            guard OrganizationName.isValid(value) else {
                let shown =
                    value.utf8.count > OrganizationName.maximumBytes ? "\(value.utf8.count) bytes long" : "'\(value)'"
                throw Failure(
                    status: .badRequest,
                    message:
                        "\(name) is \(shown): use 1 to \(OrganizationName.maximumBytes) characters of A-Z a-z 0-9 . _ : @ -"
                )
            }
            return value
        }
    }
}
