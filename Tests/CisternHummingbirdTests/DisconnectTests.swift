import Cistern
import CisternHummingbird
import CisternProcesses
import CisternTestSupport
import Hummingbird
import HummingbirdTesting
import Testing

@Suite("A client that disconnects", .timeLimit(.minutes(2)))
struct DisconnectTests {
    @Test("the wait of a client that has gone ends with the reply or the timeout, and takes at most its own token")
    func duringAWait() async throws {
        let store = InMemoryStore()
        let limiter = try RateLimiter(
            limit: .perHour(18, capacity: 10), store: .inMemory(store), clock: store.clock)
        let router = Router()
        router.add(middleware: RateLimitMiddleware(limiter, key: .header("x-org-id")))
        router.get("/") { _, _ in "hello" }
        let app = Application(router: router, services: [limiter])
        try await app.test(.live) { client in
            let port = try #require(client.port)
            for latency in [Duration.milliseconds(60), .seconds(10)] {
                store.latency = latency
                let before = (requests: store.requestCount, decisions: limiter.statistics.decisions.total)
                let connection = try Socket(port: port)
                try connection.send(Array(HTTPRequestText.plain("GET", "/", ["x-org-id: acme"]).utf8))
                try await eventually("the request to wait") { store.requestCount > before.requests }
                connection.finishSending()
                store.clock.advance(by: .milliseconds(100))
                try await eventually("the end of the wait") {
                    limiter.statistics.decisions.total > before.decisions
                }
            }
            store.latency = .zero
            store.clock.advance(by: .seconds(10))
            var admitted = 0
            while try await limiter.acquire("acme").isAllowed { admitted += 1 }
            #expect(8...10 ~= admitted)
        }
    }
}
