internal import Cistern
internal import CisternSupport
internal import Logging
internal import NIOCore
internal import Synchronization

/// The state that the connections of one event loop share, so that event loops do not contend.
///
/// Use it only on its event loop, except for the statistics.
final class LoopContext {
    /// The counters of one event loop; any thread may read them.
    final class Statistics: Sendable {
        let mutex = Mutex(Tally())
    }

    /// The values that the mutex protects.
    struct Tally: Sendable {
        var requests = HTTPStatistics()
        var topOrganizations = DecisionSketches()
        /// The event-loop lag: the delay of a task that is due.
        var lag = LatencyHistogram()
    }

    let clock: any TimeSource
    let statistics: Statistics
    /// The open connections, for draining and closing all of them.
    var open: [ObjectIdentifier: any Channel] = [:]
    /// Whether the server drains, so that each response closes its connection.
    private(set) var isDraining = false
    let bodyBudget: BodyBudget
    private var pages: PageCache
    private let logger: Logger
    /// Whether each decision is logged; the log level is read only once.
    private let logsDecisions: Bool
    private var shadowLog = LogThrottle()
    private let unixMilliseconds: @Sendable () -> Int64
    private var writer: ResponseWriter

    init(
        clock: any TimeSource, unixMilliseconds: @escaping @Sendable () -> Int64, statistics: Statistics,
        pages: HealthAndMetricsPages, bodyBudget: BodyBudget,
        logger: Logger = Logger(label: "cistern", factory: { _ in SwiftLogNoOpLogHandler() })
    ) {
        self.clock = clock
        self.unixMilliseconds = unixMilliseconds
        self.logger = logger
        logsDecisions = logger.logLevel <= .debug
        self.statistics = statistics
        self.pages = PageCache(pages)
        self.bodyBudget = bodyBudget
        var system = SystemRandomNumberGenerator()
        writer = ResponseWriter(seededBy: &system)
    }

    /// From now on, closes each connection after its next response.
    func beginDraining() {
        isDraining = true
        pages.clear()
    }

    /// A page for operators.
    func page(_ kind: HealthAndMetricsPages.Kind, now: NIODeadline) -> Response {
        pages.response(kind, now: now)
    }

    /// Appends the response to `buffer`, and counts the request and its decision.
    ///
    /// - Parameter nanoseconds: returns how long the request took; called once, after the response is written.
    func write(
        _ response: borrowing Response, to request: borrowing RequestPipeline.PendingRequest, framing: ResponseFraming,
        to buffer: inout ByteBuffer, nanoseconds: () -> Int64
    ) {
        let id = writer.write(
            response, to: request, framing: framing, now: response.decision?.decidedAt ?? clock.now(),
            unixMilliseconds: unixMilliseconds, to: &buffer)
        let (route, status, nanoseconds) = (request.route, response.status, nanoseconds())
        guard let decision = response.decision else {
            return statistics.mutex.withLock { $0.requests.count(route, status, nanoseconds: nanoseconds) }
        }
        let name = request.identity.bytes.readableBytesUInt8Span.extracting(request.identity.organization)
        statistics.mutex.withLock { tally in
            tally.requests.count(route, status, nanoseconds: nanoseconds)
            tally.topOrganizations.count(name, decision)
        }
        if logsDecisions { log(decision, of: request, id: id) }
        if decision.isShadowDenial { logShadow(decision, of: request) }
    }

    /// Appends a response without a decision to `buffer`, and counts the request.
    func write(
        _ response: borrowing Response, route: Route, framing: ResponseFraming, to buffer: inout ByteBuffer,
        nanoseconds: () -> Int64
    ) {
        _ = writer.write(
            response, framing: framing, now: clock.now(), unixMilliseconds: unixMilliseconds, to: &buffer)
        let (status, nanoseconds) = (response.status, nanoseconds())
        statistics.mutex.withLock { $0.requests.count(route, status, nanoseconds: nanoseconds) }
    }

    private func log(_ decision: Decision, of request: borrowing RequestPipeline.PendingRequest, id: RequestID) {
        logger.debug(
            "decided",
            metadata: [
                "requestId": "\(id)", "organization": "\(request.identity.organizationText)",
                "outcome": "\(decision.outcome)", "remaining": "\(decision.remaining)",
            ])
    }

    private func logShadow(_ decision: Decision, of request: borrowing RequestPipeline.PendingRequest) {
        guard let suppressed = shadowLog.permit(now: decision.decidedAt) else { return }
        logger.notice(
            "a limit in shadow would have denied a request",
            metadata: ["organization": "\(request.identity.organizationText)", "notLogged": "\(suppressed)"])
    }
}
