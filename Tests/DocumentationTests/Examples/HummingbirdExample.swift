// The first example of the article HummingbirdService.
import Cistern
import CisternHummingbird
import Hummingbird

func serveFromMemory() async throws {
    let limiter = try RateLimiter(limit: .perSecond(10, capacity: 100))
    let router = Router()
    router.get("health") { _, _ in "ok" }
    router.add(middleware: RateLimitMiddleware(limiter, key: .header("x-org-id")))
    router.get("notes") { _, _ in "no notes yet" }
    let application = Application(router: router, services: [limiter])
    try await application.runService()
}
