internal import Cistern
internal import Tracing

/// Opens tracing spans around lease requests.
///
/// The process must set its tracer before it creates its stores. Without a tracer a request has no extra cost.
struct StoreTracing: Sendable {
    private let tracer: any Tracer

    init(_ tracer: any Tracer) {
        self.tracer = tracer
    }

    /// Uses the process's tracer; nil if it has none.
    static var bootstrapped: StoreTracing? {
        let tracer = InstrumentationSystem.tracer
        return tracer is NoOpTracer ? nil : StoreTracing(tracer)
    }

    /// Opens a span for a request and returns a reply handler that closes it.
    ///
    /// The span's parent is the current span of the requesting task. If several callers wait for one lease request, it
    /// is the first caller's span.
    func traced(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) -> @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void {
        let span = tracer.startAnySpan("cistern.lease", ofKind: .client)
        span.attributes["db.system.name"] = "redis"
        span.attributes["cistern.organization"] = String(decoding: request.key, as: UTF8.self)
        span.attributes["cistern.tokens.needed"] = request.missingTokens
        span.attributes["cistern.tokens.ahead"] = request.requested.prefetchTokens
        return { result, now in
            switch result {
            case .success(let grant):
                span.attributes["cistern.tokens.granted"] = grant.tokens &+ grant.trickleTokens
            case .failure(let failure):
                span.recordError(failure)
                span.setStatus(SpanStatus(code: .error))
            }
            span.end()
            reply(result, now)
        }
    }
}
