package import Cistern
internal import HTTPTypes
internal import Hummingbird
internal import HummingbirdCore
package import Logging
internal import NIOCore
internal import NIOPosix

/// The admin interface: API, event streams and dashboard, on a separate port and event loop.
package struct AdminServer: Sendable {
    private let settings: AdminSettings
    private let monitor: Monitor
    private let api: AdminAPI
    private let gate: AdminGuard
    private let logger: Logger

    /// Creates a server, which listens once ``run(onListening:)`` is called.
    ///
    /// - Parameters:
    ///   - tokens: returns the tokens accepted now; nil accepts every client.
    ///   - seed: a secret random number.
    package init(
        operations: any Operations, settings: AdminSettings, tokens: @escaping @Sendable () -> AdminTokens?,
        clock: any TimeSource, seed: UInt64, logger: Logger
    ) throws {
        self.settings = settings
        self.logger = logger
        monitor = Monitor(operations: operations, tokens: tokens, clock: clock)
        api = AdminAPI(operations: operations, monitor: monitor, logger: logger)
        gate = AdminGuard(tokens: tokens, rateLimit: try AdminRateLimit(clock: clock, seed: seed), logger: logger)
    }

    /// The event loop, separate from the data plane's.
    ///
    /// It lives as long as the process: Hummingbird releases a server some time after the server has ended, and uses
    /// the loop to do so. If the loop were shut down by then, a future SwiftNIO might trap.
    private static let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)

    private static let maximumConnections = 256

    /// Serves until the task is canceled.
    ///
    /// - Parameter onListening: called with the port once requests are answered.
    /// - Throws: the socket's error if the server cannot listen on the address.
    package func run(onListening: @escaping @Sendable (_ port: Int) async -> Void) async throws {
        let connectionLimiter = ConnectionLimiter(maximum: Self.maximumConnections)
        var quiet = logger
        quiet.logLevel = .critical
        let application = Application(
            router: makeRouter(connectionLimiter),
            server: .http1(
                configuration: HTTP1Channel.Configuration(
                    additionalChannelHandlers: [AdminConnectionHandler(connections: connectionLimiter)],
                    idleTimeout: .seconds(75),
                    httpDecoderConfiguration: HTTP1Channel.Configuration.DecoderConfiguration(
                        maxHeaderFieldSize: 16 << 10, maxHeaderListSize: 32 << 10, maxHeaderFieldCount: 128))),
            configuration: ApplicationConfiguration(address: .hostname(settings.host, port: settings.port)),
            onServerRunning: { channel in
                try? await channel.pipeline.addHandler(AcceptErrorHandler(), position: .first)
                await onListening(channel.localAddress?.port ?? 0)
            },
            eventLoopGroupProvider: .shared(Self.group), logger: quiet)
        do {
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { await monitor.run() }
                tasks.addTask { try await application.run() }
                try await tasks.next()
                tasks.cancelAll()
            }
        } catch is CancellationError {
        }
        monitor.stop()
    }

    private func makeRouter(_ connectionLimiter: ConnectionLimiter) -> Router<AdminContext> {
        let router = Router(context: AdminContext.self)
        router.add(middleware: SecurityHeadersMiddleware())
        router.add(middleware: ProblemMiddleware())
        router.add(middleware: SingleHostMiddleware())
        for file in PageFile.dashboard {
            router.on(RouterPath(file.path), method: .get) { _, _ in file.response }
        }
        for route in AdminRoute.allCases {
            router.on(RouterPath(route.path), method: route.method) { [gate, api] request, context in
                var context = context
                context.user = try await gate.admit(request, to: route, from: context.address)
                if context.user != AdminGuard.nobody { connectionLimiter.note(.known, on: context.channel) }
                return try await api.respond(to: route, request, context)
            }
        }
        Self.addMethodNotAllowedRoutes(of: router)
        return router
    }

    /// Answers other methods of a known path with 405 and the allowed methods.
    private static func addMethodNotAllowedRoutes(of router: Router<AdminContext>) {
        var methods: [String: [HTTPRequest.Method]] = [:]
        for file in PageFile.dashboard { methods[file.path, default: []].append(.get) }
        for route in AdminRoute.allCases { methods[route.path, default: []].append(route.method) }
        for (path, allowed) in methods {
            let words = allowed.map(\.rawValue).sorted().joined(separator: ", ")
            for method in [.get, .head, .put, .post, .delete, .patch, .options] as [HTTPRequest.Method]
            where !allowed.contains(method) {
                router.on(RouterPath(path), method: method) { _, _ -> Response in
                    throw Problem(
                        .methodNotAllowed, "\(method.rawValue) is not allowed for this path: use \(words)",
                        headers: [.allow: words])
                }
            }
        }
    }
}

/// Rejects requests with several Host headers: a proxy may have routed by a different header than this server reads.
private struct SingleHostMiddleware: RouterMiddleware {
    func handle(
        _ request: Request, context: AdminContext, next: @concurrent (Request, AdminContext) async throws -> Response
    ) async throws -> Response {
        // The first Host header becomes the authority; any other stays a header field.
        let hasOthers = HTTPField.Name("Host").map { request.headers[$0] != nil } ?? false
        guard !hasOthers else {
            throw Problem(.badRequest, "the request has several Host headers: send one")
        }
        return try await next(request, context)
    }
}

/// Turns every error into problem details (RFC 9457).
private struct ProblemMiddleware: RouterMiddleware {
    func handle(
        _ request: Request, context: AdminContext, next: @concurrent (Request, AdminContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let error as any HTTPResponseError where error.status == .notFound && !(error is Problem) {
            let problem = Problem(.notFound, "there is no such path: see /openapi.json for the paths")
            return try problem.response(from: request, context: context)
        } catch {
            return try Problem(error).response(from: request, context: context)
        }
    }
}

/// Adds security headers to every response: content policy, no sniffing, no framing, same origin, no caching.
private struct SecurityHeadersMiddleware: RouterMiddleware {
    private static let policy = """
        default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
        base-uri 'none'; form-action 'none'; frame-ancestors 'none'
        """
    private static let fields: [(HTTPField.Name, String)] = [
        (.contentSecurityPolicy, policy), (.xContentTypeOptions, "nosniff"),
    ]
    private static let others = [
        ("Referrer-Policy", "no-referrer"), ("X-Frame-Options", "DENY"), ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ]

    func handle(
        _ request: Request, context: AdminContext, next: @concurrent (Request, AdminContext) async throws -> Response
    ) async throws -> Response {
        var response = try await next(request, context)
        for (name, value) in Self.fields { response.headers[name] = value }
        for (name, value) in Self.others {
            if let name = HTTPField.Name(name) { response.headers[name] = value }
        }
        if response.headers[.cacheControl] == nil { response.headers[.cacheControl] = "no-store" }
        return response
    }
}
