internal import HTTPTypes
internal import Hummingbird
internal import NIOCore

/// A file that is part of the program: the dashboard's, and the description of the API.
struct PageFile: Sendable {
    let path: String
    let contentType: String
    private let content: ByteBuffer

    private init(_ path: String, _ contentType: String, _ bytes: [UInt8]) {
        self.path = path
        self.contentType = contentType
        content = ByteBuffer(bytes: bytes)
    }

    var response: Response {
        Response(
            status: .ok, headers: [.contentType: contentType, .cacheControl: "no-cache"],
            body: ResponseBody(byteBuffer: content))
    }

    static let description = PageFile("/openapi.json", "application/json", PackageResources.openapi_json)

    /// The dashboard's files.
    static let dashboard: [PageFile] = [
        PageFile("/", "text/html; charset=utf-8", PackageResources.index_html)
    ]
}
