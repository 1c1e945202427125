internal import Cistern
internal import HTTPTypes
internal import Hummingbird
internal import Logging
internal import NIOCore
internal import Synchronization

/// What is known of one request beside what it says.
struct AdminContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// Who asks: the name of a token, or `local` where none is needed.
    var user = "local"
    /// Where the request comes from.
    let address: String
    /// The connection that the request came on.
    let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
        address = source.channel.remoteAddress?.ipAddress ?? ""
    }

    /// Room for any body that is read, and no more.
    var maxUploadSize: Int { FieldReader.maximumBytes }
}

/// Lets a request of the API in: who asks, from where, and how often.
struct AdminGuard: Sendable {
    /// Who sends no valid token.
    static let nobody = "nobody"

    let tokens: @Sendable () -> AdminTokens?
    let pace: AdminRateLimit
    let logger: Logger

    /// Checks a request and says who asks.
    ///
    /// Probes and scrapes have rates of their own, so that nobody who asks for other things stops them.
    func admit(_ request: Request, to route: AdminRoute, from address: String) async throws -> String {
        try checkOrigin(request)
        guard let tokens = tokens() else {
            try checkHost(request)
            try await pace.admit("local:\(route.rateClass)")
            return "local"
        }
        guard let user = Self.secret(in: request).flatMap({ tokens.name(of: $0) }) else {
            try await pace.admit("\(route.isOpen ? "open" : Self.nobody):\(address)")
            guard route.isOpen else {
                throw Problem(
                    .unauthorized, "no valid token: send Authorization: Bearer SECRET, of a line in adminTokenFile",
                    headers: [.wwwAuthenticate: "Bearer"])
            }
            return Self.nobody
        }
        try await pace.admit("user:\(user):\(route.rateClass)", isKnown: true)
        return user
    }

    private static func secret(in request: Request) -> String? {
        guard let value = request.headers[.authorization], value.lowercased().hasPrefix("bearer ") else { return nil }
        return String(value.dropFirst("bearer ".count))
    }

    /// Where no token is asked for, a page from elsewhere must not get in by way of a name that leads to this machine
    /// (DNS rebinding): the host must be this machine's own.
    private func checkHost(_ request: Request) throws(Problem) {
        let host = request.head.authority ?? ""
        guard AdminSettings.isLoopback(Self.name(in: host)) else {
            throw Problem(
                .forbidden, "Host is '\(host.prefix(128))': use localhost or 127.0.0.1, or set adminTokenFile")
        }
    }

    /// A page of another origin may not use a browser's way in here.
    private func checkOrigin(_ request: Request) throws(Problem) {
        // An image or a script of another site has no Origin; a browser says where it comes from all the same.
        let site = HTTPField.Name("Sec-Fetch-Site").flatMap { request.headers[$0] }
        guard site != "cross-site" else {
            throw Problem(.forbidden, "Sec-Fetch-Site is 'cross-site': only this server's own page may ask")
        }
        guard let origin = request.headers[.origin] else { return }
        let host = request.head.authority ?? ""
        guard origin == "http://\(host)" || origin == "https://\(host)" else {
            throw Problem(.forbidden, "Origin is '\(origin.prefix(128))': only this server's own page may ask")
        }
    }

    /// A host without its port.
    private static func name(in authority: String) -> String {
        let name =
            if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
                String(authority[...end])
            } else {
                String(authority.prefix { $0 != ":" })
            }
        // Behind it there may be a port, and nothing else.
        let rest = authority.dropFirst(name.count)
        guard rest.isEmpty || rest.hasPrefix(":") && UInt16(rest.dropFirst()) != nil else { return "" }
        return name
    }
}

/// How often the API may be used: two hundred at once and a hundred a second by each name.
///
/// Whoever asks more often waits a quarter of a second to be told so: that costs a server less than the asking does.
final class AdminRateLimit: Sendable {
    private let limiter: RateLimiter
    private let clock: any TimeSource

    init(clock: any TimeSource, seed: UInt64) throws {
        self.clock = clock
        let limits = Limits(standard: try Limit(capacity: 200, refillPerSecond: 100))
        var settings = LimiterSettings()
        settings.maximumBuckets = 1024
        limiter = RateLimiter(limits: limits, settings: settings, seed: seed)
    }

    /// - Parameter isKnown: whether the name is one that a token has, of which there are few: a flood of addresses takes
    ///   no place from them.
    func admit(_ name: String, isKnown: Bool = false) async throws {
        guard let decision = limiter.decideNow(name.utf8.span, now: clock.now()), !decision.isAllowed,
            !(isKnown && decision.outcome == .refused)
        else { return }
        try await Task.sleep(for: .milliseconds(250))
        throw Problem(
            .tooManyRequests, "the API was asked too often: ask again in a second", headers: [.retryAfter: "1"])
    }
}
