internal import HTTPTypes
internal import Hummingbird
internal import NIOCore

/// A file embedded in the program: one of the dashboard's files, or the API description.
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
    static let dashboard: [PageFile] =
        [
            PageFile("/", "text/html; charset=utf-8", PackageResources.index_html),
            PageFile("/dashboard.css", "text/css; charset=utf-8", PackageResources.dashboard_css),
        ]
        + scripts.map { PageFile("/\($0)", "text/javascript; charset=utf-8", $1) }

    private static let scripts: [(name: String, bytes: [UInt8])] = [
        ("api.js", PackageResources.api_js),
        ("chart.js", PackageResources.chart_js),
        ("charts.js", PackageResources.charts_js),
        ("dashboard.js", PackageResources.dashboard_js),
        ("dom.js", PackageResources.dom_js),
        ("format.js", PackageResources.format_js),
        ("journal.js", PackageResources.journal_js),
        ("lease.js", PackageResources.lease_js),
        ("organization.js", PackageResources.organization_js),
        ("override.js", PackageResources.override_js),
        ("overview.js", PackageResources.overview_js),
        ("scale.js", PackageResources.scale_js),
        ("tank.js", PackageResources.tank_js),
    ]
}
