internal import Cistern
internal import Tracing

/// Spans around lease requests, for whoever collects traces.
///
/// Without a tracer, which a process sets up before it makes its stores, a request costs nothing more.
struct StoreTracing: Sendable {
    private let tracer: any Tracer

    init(_ tracer: any Tracer) {
        self.tracer = tracer
    }

    /// With the process's tracer; nil where it has none.
    static var ofProcess: StoreTracing? {
        let tracer = InstrumentationSystem.tracer
        return tracer is NoOpTracer ? nil : StoreTracing(tracer)
    }

    /// Opens a span for a request and returns a reply that closes it.
    ///
    /// Its parent is whatever the task that asks is in; a request that others wait for as well has the first one's.
    func traced(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) -> @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void {
        let span = tracer.startAnySpan("cistern.lease", ofKind: .client)
        span.attributes["db.system.name"] = "redis"
        span.attributes["cistern.organization"] = String(decoding: request.key, as: UTF8.self)
        span.attributes["cistern.tokens.needed"] = request.needed
        span.attributes["cistern.tokens.ahead"] = request.requested.ahead
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
