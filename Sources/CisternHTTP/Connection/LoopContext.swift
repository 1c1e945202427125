internal import Cistern
internal import CisternSupport
internal import Logging
internal import NIOCore
internal import Synchronization

/// What the connections of one event loop share, so that they share nothing with those of others.
///
/// It lives on its event loop, except the statistics.
final class LoopContext {
    /// Requests counted on this loop; any thread may read them.
    final class Statistics: Sendable {
        let mutex = Mutex(Tally())
    }

    /// What is counted on one loop.
    struct Tally: Sendable {
        var requests = HTTPStatistics()
        var busiest = BusiestOrganizations()
        /// How late the loop comes to what is due.
        var lag = LatencyHistogram()
    }

    let clock: any TimeSource
    let statistics: Statistics
    /// The connections that are open, for who has to close them all.
    var open: [ObjectIdentifier: any Channel] = [:]
    /// Whether every answer is its connection's last: the server is about to stop.
    private(set) var isDraining = false
    let bodyBudget: BodyBudget
    private var pages: PageCache
    private let logger: Logger
    /// Whether each decision is logged, which is looked up once.
    private let logsDecisions: Bool
    private var shadowLog = LogThrottle()
    private let unixMilliseconds: @Sendable () -> Int64
    private var writer: ResponseWriter

    init(
        clock: any TimeSource, unixMilliseconds: @escaping @Sendable () -> Int64, statistics: Statistics,
        pages: OperatorPages, bodyBudget: BodyBudget,
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

    /// Makes every answer from now on its connection's last.
    func beginDraining() {
        isDraining = true
        pages.clear()
    }

    /// A page for operators.
    func page(_ kind: OperatorPages.Kind, now: NIODeadline) -> Response {
        pages.answer(kind, now: now)
    }

    /// Appends the answer to a request to `buffer`, and counts it and its decision.
    ///
    /// - Parameter nanoseconds: how long the request took; asked for once, when the answer is written.
    func write(
        _ answer: borrowing Response, to request: borrowing RequestChain.Metered, framing: ResponseFraming,
        to buffer: inout ByteBuffer, nanoseconds: () -> Int64
    ) {
        let id = writer.write(
            answer, to: request, framing: framing, now: answer.decision?.decidedAt ?? clock.now(),
            unixMilliseconds: unixMilliseconds, to: &buffer)
        let (route, status, nanoseconds) = (request.route, answer.status, nanoseconds())
        guard let decision = answer.decision else {
            return statistics.mutex.withLock { $0.requests.count(route, status, nanoseconds: nanoseconds) }
        }
        let name = request.identity.bytes.readableBytesUInt8Span.extracting(request.identity.organization)
        statistics.mutex.withLock { tally in
            tally.requests.count(route, status, nanoseconds: nanoseconds)
            tally.busiest.count(name, decision)
        }
        if logsDecisions { log(decision, of: request, id: id) }
        if decision.isShadowDenial { logShadow(decision, of: request) }
    }

    /// The same where there is no request to speak of, or none that was decided.
    func write(
        _ answer: borrowing Response, route: Route, framing: ResponseFraming, to buffer: inout ByteBuffer,
        nanoseconds: () -> Int64
    ) {
        _ = writer.write(
            answer, framing: framing, now: clock.now(), unixMilliseconds: unixMilliseconds, to: &buffer)
        let (status, nanoseconds) = (answer.status, nanoseconds())
        statistics.mutex.withLock { $0.requests.count(route, status, nanoseconds: nanoseconds) }
    }

    private func log(_ decision: Decision, of request: borrowing RequestChain.Metered, id: RequestID) {
        logger.debug(
            "decided",
            metadata: [
                "requestId": "\(id)", "organization": "\(request.identity.organizationText)",
                "outcome": "\(decision.outcome)", "remaining": "\(decision.remaining)",
            ])
    }

    private func logShadow(_ decision: Decision, of request: borrowing RequestChain.Metered) {
        guard let suppressed = shadowLog.permit(now: decision.decidedAt) else { return }
        logger.notice(
            "a limit in shadow would have denied a request",
            metadata: ["organization": "\(request.identity.organizationText)", "notLogged": "\(suppressed)"])
    }
}
