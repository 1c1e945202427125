/// Who makes a request: a user of an organisation, as the headers say it.
package struct Identity: Equatable {
    let organization: String
    let user: String

    /// Why a request has no identity: what to answer.
    struct Failure: Error, Equatable {
        let status: Status
        let message: String
    }

    /// The longest name, in bytes.
    private static let maximumBytes = 128

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
            guard isName(value) else {
                let shown = value.utf8.count > maximumBytes ? "\(value.utf8.count) bytes long" : "'\(value)'"
                throw Failure(
                    status: .badRequest,
                    message: "\(name) is \(shown): use 1 to \(maximumBytes) characters of A-Z a-z 0-9 . _ : @ -")
            }
            return value
        }
    }

    /// Whether a text can be the name of an organisation or a user.
    package static func isName(_ value: String) -> Bool {
        1...maximumBytes ~= value.utf8.count && value.utf8.allSatisfy { nameBytes[Int($0)] }
    }

    /// For each byte, whether a name may contain it.
    private static let nameBytes: [Bool] = (UInt8.min...UInt8.max).map { byte in
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: ":"),
            UInt8(ascii: "@"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}
