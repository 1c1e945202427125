internal import NIOCore

/// The pages for operators that the data port serves; the owner of the HTTP server provides their contents.
package struct HealthAndMetricsPages: Sendable {
    /// The kinds of page.
    enum Kind {
        case health
        case metrics
    }

    /// The contents of one response.
    package struct Page: Sendable {
        let status: Status
        let body: ByteBuffer
        let contentType: String

        /// - Parameter isUnavailable: whether the status is 503, so that load balancers stop sending traffic.
        package init(text: String, contentType: String, isUnavailable: Bool = false) {
            status = isUnavailable ? .serviceUnavailable : .ok
            body = ByteBuffer(string: text)
            self.contentType = contentType
        }
    }

    package let health: @Sendable () -> Page
    package let metrics: @Sendable () -> Page

    package init(health: @escaping @Sendable () -> Page, metrics: @escaping @Sendable () -> Page) {
        self.health = health
        self.metrics = metrics
    }

    func page(_ kind: Kind) -> Page {
        switch kind {
        case .health: health()
        case .metrics: metrics()
        }
    }
}

/// The page cache of one event loop; it renders each page at most ten times a second.
struct PageCache {
    private static let lifeTime = TimeAmount.milliseconds(100)

    private let pages: HealthAndMetricsPages
    private var health: (page: HealthAndMetricsPages.Page, until: NIODeadline)?
    private var metrics: (page: HealthAndMetricsPages.Page, until: NIODeadline)?

    init(_ pages: HealthAndMetricsPages) {
        self.pages = pages
    }

    /// Invalidates every page, because its contents have changed.
    mutating func clear() {
        (health, metrics) = (nil, nil)
    }

    mutating func response(_ kind: HealthAndMetricsPages.Kind, now: NIODeadline) -> Response {
        let page =
            switch kind {
            case .health: take(\.health, kind, now)
            case .metrics: take(\.metrics, kind, now)
            }
        return Response(status: page.status, content: .page(page.body, type: page.contentType))
    }

    private mutating func take(
        _ place: WritableKeyPath<PageCache, (page: HealthAndMetricsPages.Page, until: NIODeadline)?>,
        _ kind: HealthAndMetricsPages.Kind, _ now: NIODeadline
    ) -> HealthAndMetricsPages.Page {
        if let kept = self[keyPath: place], now < kept.until { return kept.page }
        let page = pages.page(kind)
        self[keyPath: place] = (page, now + Self.lifeTime)
        return page
    }
}

extension HealthAndMetricsPages.Kind {
    /// The route under which requests for the page are counted.
    var route: Route {
        switch self {
        case .health: .health
        case .metrics: .metrics
        }
    }
}
