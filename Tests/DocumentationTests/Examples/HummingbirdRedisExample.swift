// The other examples of the article HummingbirdService.
import Cistern
import CisternHummingbird
import CisternRedis
import HTTPTypes
import Hummingbird
import NIOCore

func serveWithRedis(_ url: String) async throws {
    let limiter = try RateLimiter(limit: .perSecond(10, capacity: 100), store: .redis(url), namespace: "notes")
    let router = Router()
    router.get("health") { _, _ in "ok" }
    router.add(middleware: RateLimitMiddleware(limiter, key: .header("x-org-id")))
    router.get("notes") { _, _ in "no notes yet" }
    let application = Application(router: router, services: [limiter])
    try await application.runService()
}

/// A request context with the address of the client.
struct NotesContext: RemoteAddressRequestContext {
    var coreContext: CoreRequestContextStorage
    let remoteAddress: SocketAddress?

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        remoteAddress = source.channel.remoteAddress
    }
}

func makeAddressKey() throws -> RequestKey<NotesContext> {
    try .clientAddress(trustedProxies: ["10.0.0.0/8", "fd00::/8"])
}

/// Names the bucket by the parameter `id` of a route such as `notes/:id`.
func makeNoteKey() -> RequestKey<BasicRequestContext> {
    RequestKey("note ID") { _, context in context.parameters.get("id") }
}

/// Gives each organization a bucket for each path.
func makePathKey() -> RequestKey<BasicRequestContext> {
    .all(.header("x-org-id"), .path)
}

/// An import costs a token for each note, and at most 100.
func makeImportCost() -> RequestCost<BasicRequestContext> {
    RequestCost { request, _ in
        let count = request.uri.queryParameters.get("count", as: Int.self) ?? 1
        return min(max(1, count), 100)
    }
}

/// Responds with a problem document (RFC 9457).
func makeProblem(of decision: Decision) -> Response {
    let status: HTTPResponse.Status = decision.outcome == .denied ? .tooManyRequests : .serviceUnavailable
    var headers: HTTPFields = [.contentType: "application/problem+json"]
    if let wait = decision.retryAfter {
        headers[.retryAfter] = "\(max(1, Int((wait / .seconds(1)).rounded(.up))))"
    }
    let body = #"{"title":"\#(status.reasonPhrase)","status":\#(status.code)}"#
    return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: body)))
}

func addImport(to router: Router<BasicRequestContext>, limiter: RateLimiter) {
    let middleware = RateLimitMiddleware<BasicRequestContext>(
        limiter, key: .header("x-org-id"), cost: makeImportCost(), missingKey: .share("anonymous")
    ) { decision, _, _ in
        makeProblem(of: decision)
    }
    router.group("import").add(middleware: middleware).post { _, _ in "imported" }
}

func serveWithTwoLimits(redis url: String) async throws {
    let perClient = try RateLimiter(
        limit: .perSecond(5, capacity: 20), store: .redis(url), namespace: "notes.clients")
    let perOrganization = try RateLimiter(
        limit: .perSecond(100, capacity: 1000), store: .redis(url), namespace: "notes.organizations")
    let router = Router(context: NotesContext.self)
    router.add(middleware: RateLimitMiddleware(perClient, key: try makeAddressKey()))
    let notes = router.group("notes")
    notes.add(middleware: RateLimitMiddleware(perOrganization, key: .header("x-org-id")))
    notes.get { _, _ in "no notes yet" }
    let application = Application(router: router, services: [perClient, perOrganization])
    try await application.runService()
}
