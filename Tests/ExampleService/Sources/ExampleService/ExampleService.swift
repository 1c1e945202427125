import Cistern
import CisternHummingbird
import CisternRedis
import Hummingbird

/// A service with a limit for each organization; with `REDIS_URL`, its instances share the limits.
@main
struct ExampleService {
    static func main() async throws {
        let environment = Environment()
        let store = environment.get("REDIS_URL").map { SharedStore.redis($0) }
        let limiter = try RateLimiter(limit: .perMinute(600, capacity: 100), store: store)

        let router = Router()
        router.add(middleware: RateLimitMiddleware(limiter, key: .header("x-org-id")))
        router.get("/") { _, _ in "hello\n" }

        let app = Application(
            router: router,
            configuration: .init(address: .hostname("127.0.0.1", port: environment.get("PORT", as: Int.self) ?? 8080)),
            services: [limiter]
        )
        try await app.runService()
    }
}
