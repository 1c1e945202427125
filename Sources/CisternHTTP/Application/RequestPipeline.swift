internal import Cistern
internal import NIOCore

/// The stages of a request: ID and timer, identity check, body parsing, decision, route.
///
/// All functions here are pure. The caller makes the decision, which is the only stage that may wait. The connection
/// provides the ID and the timer, because even the response to an unreadable request has them.
enum RequestPipeline {
    /// The result of the stages before the decision.
    enum Admission {
        /// Respond without taking a token.
        case response(Response, Route)
        /// Respond with a page for operators.
        case page(HealthAndMetricsPages.Kind)
        /// Take a token of this organization first.
        case decide(PendingRequest)
    }

    /// How to handle a body that is incomplete.
    enum BodyPlan {
        /// Respond now: the head is sufficient.
        case response(Response, Route)
        /// Discard the body, because nothing reads it.
        case skip
        /// Buffer the body, because the route needs it.
        case keep
    }

    /// A request with a valid identity and body that needs a decision.
    struct PendingRequest {
        let identity: Identity
        let route: Route
        let method: Request.Method
        let message: ByteBuffer?
    }

    /// Runs the stages before the decision.
    ///
    /// - Parameter servesPages: whether `/health` and `/metrics` are served here.
    static func admit(_ request: Request, servesPages: Bool) -> Admission {
        let bytes = request.bytes.readableBytesUInt8Span
        let route = Route(path: bytes.extracting(request.path), servesPages: servesPages)
        if request.method == .options { return .response(options(route, bytes.extracting(request.path)), route) }
        if let page = page(request.method, route) { return .page(page) }
        do {
            let identity = try Identity(request, bytes)
            do {
                let message = needsBody(request, route) ? try Body.message(of: request) : nil
                return .decide(
                    PendingRequest(identity: identity, route: route, method: request.method, message: message))
            } catch {
                return .response(.error(.badRequest, "the body is not valid JSON: \(error)"), route)
            }
        } catch {
            return .response(.error(error.status, error.message), route)
        }
    }

    /// Decides from the head alone whether the body of a request is needed.
    static func plan(forBodyOf request: Request, servesPages: Bool) -> BodyPlan {
        let bytes = request.bytes.readableBytesUInt8Span
        let route = Route(path: bytes.extracting(request.path), servesPages: servesPages)
        guard request.method != .options, page(request.method, route) == nil else { return .skip }
        do {
            _ = try Identity(request, bytes)
        } catch {
            return .response(.error(error.status, error.message), route)
        }
        return needsBody(request, route) ? .keep : .skip
    }

    private static func needsBody(_ request: Request, _ route: Route) -> Bool {
        route == .chat && request.method == .post && request.bodyFormat != .opaque
    }

    private static func page(_ method: Request.Method, _ route: Route) -> HealthAndMetricsPages.Kind? {
        guard method == .get || method == .head else { return nil }
        switch route {
        case .health: return .health
        case .metrics: return .metrics
        case .chat, .other, .invalid: return nil
        }
    }

    /// The response to OPTIONS, which costs no token and needs no identity: a browser's preflight sends no identity.
    private static func options(_ route: Route, _ path: Span<UInt8>) -> Response {
        var response = Response(status: .noContent, content: .none)
        switch route {
        case .chat: response.allow = "POST, OPTIONS"
        case .health, .metrics: response.allow = "GET, HEAD, OPTIONS"
        case .other, .invalid:
            guard path.equals("*") else { return notFound }
            response.allow = "GET, HEAD, POST, OPTIONS"
        }
        return response
    }

    /// Runs the stages after the decision.
    static func response(_ request: PendingRequest, _ decision: Decision) -> Response {
        var response: Response
        switch decision.outcome {
        case .allowed, .unmetered: response = run(request)
        case .denied: response = Response(status: .tooManyRequests, content: .tooManyRequests)
        case .refused: response = .error(.serviceUnavailable, "the limiter cannot decide now; retry later")
        }
        response.decision = decision
        // No Retry-After if waiting cannot help.
        if !decision.isAllowed, decision.retryAfterMilliseconds > 0 {
            response.retryAfterSeconds = max(1, Int((decision.retryAfterMilliseconds + 999) / 1000))
        }
        return response
    }

    private static func run(_ request: PendingRequest) -> Response {
        switch (request.route, request.method) {
        case (.chat, .post):
            return Response(status: .ok, content: .chat)
        case (.chat, _):
            var response = Response.error(.methodNotAllowed, "/chat takes POST")
            response.allow = "POST, OPTIONS"
            return response
        case (.health, _), (.metrics, _):
            var response = Response.error(.methodNotAllowed, "this path takes GET")
            response.allow = "GET, HEAD, OPTIONS"
            return response
        case (.other, _), (.invalid, _):
            return notFound
        }
    }

    private static var notFound: Response {
        .error(.notFound, "there is nothing at this path: use POST /chat")
    }
}

/// The routes, which are also the categories for counting requests.
package enum Route: Int, Sendable, CaseIterable {
    case chat
    case health
    case metrics
    /// Any other path.
    case other
    /// No path, because the request is invalid.
    case invalid

    /// - Parameter servesPages: whether the pages for operators are routes here.
    init(path: Span<UInt8>, servesPages: Bool) {
        if path.equals("/chat") {
            self = .chat
        } else if servesPages, path.equals("/health") {
            self = .health
        } else if servesPages, path.equals("/metrics") {
            self = .metrics
        } else {
            self = .other
        }
    }

    /// The route's label in the metrics.
    package var label: String {
        switch self {
        case .chat: "/chat"
        case .health: "/health"
        case .metrics: "/metrics"
        case .other: "other"
        case .invalid: "invalid"
        }
    }
}
