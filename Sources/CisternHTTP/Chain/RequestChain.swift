internal import Cistern
internal import NIOCore

/// The order in which a request is worked through: its body is read, it gets an id and a timer, its identity is
/// checked, its organisation's bucket pays, and only then its route runs.
///
/// Pure: the step that may have to wait, the decision, is the caller's. Id and timer are the connection's, since an
/// answer has them even where there is no request to speak of.
enum RequestChain {
    /// What comes of the steps before the decision.
    enum Admission {
        /// It is answered without a token being taken.
        case answer(Answer, Route)
        /// A token of this organisation must be taken first.
        case decide(Metered)
    }

    /// A request that has an identity and a readable body, and waits for its decision.
    struct Metered {
        let identity: Identity
        let route: Route
        let method: Request.Method
        let message: ByteBuffer?
    }

    /// Everything before the decision.
    static func admit(_ request: Request, pages: OperatorPages) -> Admission {
        let bytes = request.bytes.readableBytesUInt8Span
        let route = Route(path: bytes.extracting(request.path))
        let message: ByteBuffer?
        do {
            message = try Body.message(of: request)
        } catch {
            return .answer(.error(.badRequest, "the body is not valid JSON: \(error)"), route)
        }
        if request.method == .get || request.method == .head {
            switch route {
            case .health: return .answer(page(pages.health()), route)
            case .metrics: return .answer(page(pages.metrics()), route)
            case .chat, .other, .invalid: break
            }
        }
        do {
            let identity = try Identity(request, bytes)
            return .decide(Metered(identity: identity, route: route, method: request.method, message: message))
        } catch {
            return .answer(.error(error.status, error.message), route)
        }
    }

    /// Everything after the decision.
    static func answer(_ request: Metered, _ decision: Decision) -> Answer {
        var answer: Answer
        switch decision.outcome {
        case .allowed, .unmetered: answer = run(request)
        case .denied: answer = Answer(status: .tooManyRequests, content: .tooManyRequests)
        case .refused: answer = .error(.serviceUnavailable, "the limiter cannot decide now; retry later")
        }
        answer.decision = decision
        if !decision.isAllowed {
            answer.retryAfterSeconds = max(1, Int((decision.retryAfterMilliseconds + 999) / 1000))
        }
        return answer
    }

    private static func run(_ request: Metered) -> Answer {
        switch (request.route, request.method) {
        case (.chat, .post):
            return Answer(status: .ok, content: .chat)
        case (.chat, _):
            var answer = Answer.error(.methodNotAllowed, "/chat takes POST")
            answer.allow = "POST"
            return answer
        case (.health, _), (.metrics, _):
            var answer = Answer.error(.methodNotAllowed, "this path takes GET")
            answer.allow = "GET, HEAD"
            return answer
        case (.other, _), (.invalid, _):
            return .error(.notFound, "there is nothing at this path; there are /chat, /health and /metrics")
        }
    }

    private static func page(_ page: OperatorPages.Page) -> Answer {
        Answer(status: .ok, content: .page(ByteBuffer(string: page.text), type: page.contentType))
    }
}

/// The routes, and the classes under which requests are counted.
package enum Route: Int, Sendable, CaseIterable {
    case chat
    case health
    case metrics
    /// Any other path.
    case other
    /// No path: the request could not be read.
    case invalid

    init(path: Span<UInt8>) {
        if path.equals("/chat") {
            self = .chat
        } else if path.equals("/health") {
            self = .health
        } else if path.equals("/metrics") {
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

/// The pages for operators that the data port serves; whoever composes the server says what stands in them.
package struct OperatorPages: Sendable {
    /// A page's text and its media type.
    package struct Page: Sendable {
        package let text: String
        package let contentType: String

        package init(text: String, contentType: String) {
            self.text = text
            self.contentType = contentType
        }
    }

    package let health: @Sendable () -> Page
    package let metrics: @Sendable () -> Page

    package init(health: @escaping @Sendable () -> Page, metrics: @escaping @Sendable () -> Page) {
        self.health = health
        self.metrics = metrics
    }
}
