internal import Foundation
internal import HTTPTypes
internal import Hummingbird
internal import NIOCore

/// An error response of the API, as problem details (RFC 9457).
struct Problem: HTTPResponseError {
    let status: HTTPResponse.Status
    /// The fault, the invalid value, and the remedy.
    let detail: String
    /// Additional header fields, such as `Allow`.
    var headers: HTTPFields = [:]

    init(_ status: HTTPResponse.Status, _ detail: String, headers: HTTPFields = [:]) {
        self.status = status
        self.detail = detail
        self.headers = headers
    }

    private struct Document: Encodable {
        let type = "about:blank"
        let title: String
        let status: Int
        let detail: String
    }

    static let contentType = "application/problem+json"

    func response(from request: Request, context: some RequestContext) throws -> Response {
        let document = Document(title: status.reasonPhrase, status: status.code, detail: detail)
        var headers = headers
        headers[.contentType] = Self.contentType
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: try JSONText.encode(document)))
    }

    /// Converts an error from a request handler.
    init(_ error: any Error) {
        switch error {
        case let problem as Problem: self = problem
        case let failure as OperationFailure: self.init(.serviceUnavailable, failure.description)
        case is NIOTooManyBytesError:
            self.init(.contentTooLarge, "the body is over \(FieldReader.maximumBytes) bytes: send less")
        case let error as any HTTPResponseError:
            self.init(error.status, "the request cannot be answered: \(error.status.reasonPhrase)")
        default: self.init(.internalServerError, "the request cannot be answered: \(error)")
        }
    }
}

/// The JSON encoding of the API.
enum JSONText {
    /// Encodes a value as JSON, its members sorted by name.
    static func encode(_ value: some Encodable) throws -> ByteBuffer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return ByteBuffer(bytes: try encoder.encode(value))
    }

    /// A response with a JSON body.
    static func response(_ value: some Encodable) throws -> Response {
        Response(
            status: .ok, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: try encode(value)))
    }
}
