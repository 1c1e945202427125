internal import HTTPTypes

/// A route of the API; the router serves exactly these routes, and `openapi.json` describes them.
enum AdminRoute: CaseIterable {
    case status
    case nodes
    case organizations
    case overrides
    case journal
    case organization
    case fillBucket
    case setLimit
    case removeLimit
    case lease
    case changeLease
    case metrics
    case health
    case events
    case description

    var method: HTTPRequest.Method {
        switch self {
        case .fillBucket, .removeLimit: .delete
        case .setLimit, .changeLease: .put
        default: .get
        }
    }

    /// The path, with its parameters in braces.
    var path: String {
        switch self {
        case .status: "/v1/status"
        case .nodes: "/v1/nodes"
        case .organizations: "/v1/organizations"
        case .overrides: "/v1/overrides"
        case .journal: "/v1/journal"
        case .organization: "/v1/organizations/{organization}"
        case .fillBucket: "/v1/organizations/{organization}/bucket"
        case .setLimit, .removeLimit: "/v1/organizations/{organization}/limit"
        case .lease, .changeLease: "/v1/lease"
        case .metrics: "/v1/metrics"
        case .health: "/v1/health"
        case .events: "/v1/events"
        case .description: "/openapi.json"
        }
    }

    /// The class of requests that share a rate limit: health probes, metrics scrapes, and all others.
    var rateClass: String {
        switch self {
        case .health: "health"
        case .metrics: "metrics"
        default: "api"
        }
    }

    /// Whether the route needs no token: the health page, and the API description, which reveals nothing.
    var isOpen: Bool { self == .description || self == .health }
}
