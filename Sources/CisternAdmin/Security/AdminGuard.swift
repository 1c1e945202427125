internal import Cistern
internal import HTTPTypes
internal import Hummingbird
internal import Logging
internal import NIOCore
internal import Synchronization

/// The context of one request: its user, client address and connection.
struct AdminContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// The caller's token name, `local` if no token is required, or `nobody` without a valid token.
    var user = "local"
    /// The client's IP address; empty if unknown.
    let address: String
    /// The connection of the request.
    let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
        address = source.channel.remoteAddress?.ipAddress ?? ""
    }

    /// The longest request body, in bytes.
    var maxUploadSize: Int { FieldReader.maximumBytes }
}

/// Admission control of the API: authentication, host and origin checks, and rate limits.
struct AdminGuard: Sendable {
    /// The user name of callers without a valid token.
    static let nobody = "nobody"

    let tokens: @Sendable () -> AdminTokens?
    let rateLimit: AdminRateLimit
    let logger: Logger

    /// Checks a request and returns its user.
    ///
    /// Health probes and metrics scrapes have separate rate limits, so that other requests cannot block them.
    func admit(_ request: Request, to route: AdminRoute, from address: String) async throws -> String {
        try checkOrigin(request)
        guard let tokens = tokens() else {
            try checkHost(request)
            try await rateLimit.admit("local:\(route.rateClass)")
            return "local"
        }
        guard let user = Self.secret(in: request).flatMap({ tokens.name(of: $0) }) else {
            try await rateLimit.admit("\(route.isOpen ? "open" : Self.nobody):\(address)")
            guard route.isOpen else {
                throw Problem(
                    .unauthorized, "no valid token: send Authorization: Bearer SECRET with a secret of adminTokenFile",
                    headers: [.wwwAuthenticate: "Bearer"])
            }
            return Self.nobody
        }
        try await rateLimit.admit("user:\(user):\(route.rateClass)", isKnown: true)
        return user
    }

    private static func secret(in request: Request) -> String? {
        guard let value = request.headers[.authorization], value.lowercased().hasPrefix("bearer ") else { return nil }
        return String(value.dropFirst("bearer ".count))
    }

    /// Requires a loopback host, which protects a server without tokens against DNS rebinding.
    private func checkHost(_ request: Request) throws(Problem) {
        let host = request.head.authority ?? ""
        guard AdminSettings.isLoopback(Self.name(in: host)) else {
            throw Problem(
                .forbidden, "Host is '\(host.prefix(128))': use localhost or 127.0.0.1, or set adminTokenFile")
        }
    }

    /// Rejects browser requests that come from pages of another origin.
    private func checkOrigin(_ request: Request) throws(Problem) {
        // If another site's page loads images or scripts from here, browsers send Sec-Fetch-Site, but no Origin.
        let site = HTTPField.Name("Sec-Fetch-Site").flatMap { request.headers[$0] }
        guard site != "cross-site" else {
            throw Problem(.forbidden, "Sec-Fetch-Site is 'cross-site': use this server's own page")
        }
        guard let origin = request.headers[.origin] else { return }
        let host = request.head.authority ?? ""
        guard origin == "http://\(host)" || origin == "https://\(host)" else {
            throw Problem(.forbidden, "Origin is '\(origin.prefix(128))': use this server's own page")
        }
    }

    /// The host of an authority without its port; empty if anything but a port follows the host.
    private static func name(in authority: String) -> String {
        let name =
            if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
                String(authority[...end])
            } else {
                String(authority.prefix { $0 != ":" })
            }
        let rest = authority.dropFirst(name.count)
        guard rest.isEmpty || rest.hasPrefix(":") && UInt16(rest.dropFirst()) != nil else { return "" }
        return name
    }
}

/// The rate limit of the API: for each key, a burst of 200 requests and 100 requests per second.
///
/// A key names a user or a client's address, and a class of requests.
///
/// A rejection is sent after 250 ms: the delay costs the server less than immediate retries would.
final class AdminRateLimit: Sendable {
    private let limiter: RateLimiterEngine
    private let clock: any TimeSource

    init(clock: any TimeSource, seed: UInt64) throws {
        self.clock = clock
        let limits = Limits(standard: try Limit(capacity: 200, refillPerSecond: 100))
        var settings = LimiterSettings()
        settings.maximumBuckets = 1024
        limiter = RateLimiterEngine(limits: limits, settings: settings, seed: seed)
    }

    /// Admits one request, or throws a problem with status 429.
    ///
    /// - Parameter isKnown: whether the key `name` belongs to a valid token. There are few valid tokens, so their
    ///   requests are admitted even when a flood of addresses has filled the limiter's bounded memory.
    func admit(_ name: String, isKnown: Bool = false) async throws {
        guard let decision = limiter.decideNow(name.utf8.span, now: clock.now()), !decision.isAllowed,
            !(isKnown && decision.outcome == .refused)
        else { return }
        try await Task.sleep(for: .milliseconds(250))
        throw Problem(
            .tooManyRequests, "too many API requests: retry in a second", headers: [.retryAfter: "1"])
    }
}
