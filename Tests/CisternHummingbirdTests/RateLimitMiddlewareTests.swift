import Cistern
import CisternHummingbird
import CisternProcesses
import CisternTestSupport
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import Testing

@Suite("The middleware for Hummingbird", .timeLimit(.minutes(2)))
struct RateLimitMiddlewareTests {
    private let clock = ManualClock()
    private typealias Middleware = RateLimitMiddleware<BasicRequestContext>

    private struct Failure: Error {}

    private func app(_ middlewares: [Middleware]) -> some ApplicationProtocol {
        let router = Router()
        for middleware in middlewares { router.add(middleware: middleware) }
        router.get("/") { _, _ in "hello" }
        router.get("/items/:count") { _, _ in "items" }
        router.get("/throws") { _, _ -> String in throw HTTPError(.conflict, message: "no") }
        router.get("/fails") { _, _ -> String in throw Failure() }
        return Application(router: router)
    }

    private func limiter(_ capacity: Int = 2) throws -> RateLimiter {
        try RateLimiter(limit: .perSecond(1, capacity: capacity), clock: clock)
    }

    private static func name(_ name: String) throws -> HTTPField.Name { try #require(HTTPField.Name(name)) }

    private static func fields(_ values: [String: String]) throws -> HTTPFields {
        try values.reduce(into: HTTPFields()) { $0[try name($1.key)] = $1.value }
    }

    @Test("allowed requests get the rate limit headers; a denied one gets 429 with the reference's body")
    func contract() async throws {
        let app = app([Middleware(try limiter(), key: .header("x-org-id"))])
        let headers = try Self.fields(["x-org-id": "acme"])
        try await app.test(.router) { client in
            for remaining in ["1", "0"] {
                let response = try await client.executeRequest(uri: "/", method: .get, headers: headers, body: nil)
                #expect(response.status == .ok && String(buffer: response.body) == "hello")
                #expect(response.headers[try Self.name("X-RateLimit-Limit")] == "2")
                #expect(response.headers[try Self.name("X-RateLimit-Remaining")] == remaining)
                #expect(response.headers[.retryAfter] == nil)
            }
            let before = Date()
            let denied = try await client.executeRequest(uri: "/", method: .get, headers: headers, body: nil)
            #expect(denied.status == .tooManyRequests)
            #expect(denied.headers[try Self.name("X-RateLimit-Remaining")] == "0")
            #expect(denied.headers[.retryAfter] == "1")
            #expect(denied.headers[.contentType] == "application/json")
            let reset = try #require(denied.headers[try Self.name("X-RateLimit-Reset")])
            #expect(reset.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/) != nil)
            // The bucket is full two seconds after the decision; the text is rounded up.
            let time = try Date(reset, strategy: .iso8601)
            #expect(time >= before.addingTimeInterval(2) && time < Date().addingTimeInterval(3))

            struct Body: Decodable {
                let error, message, resetAt: String
                let limit, remaining: Int
            }
            let body = try JSONDecoder().decode(Body.self, from: Data(denied.body.readableBytesView))
            #expect(body.error == "Too Many Requests" && body.message == "Rate limit exceeded; retry in 1 s")
            #expect(body.limit == 2 && body.remaining == 0)
            #expect(body.resetAt.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/) != nil)
            let other = try await client.executeRequest(
                uri: "/", method: .get, headers: try Self.fields(["x-org-id": "other"]), body: nil)
            #expect(other.status == .ok)
        }
    }

    @Test("a request without a key is rejected, shares a bucket, or passes")
    func missingKeys() async throws {
        let choices: [(Middleware.MissingKey, [HTTPResponse.Status])] = [
            (.reject, [.badRequest, .badRequest]), (.share("nobody"), [.ok, .tooManyRequests]), (.letPass, [.ok, .ok]),
        ]
        for (choice, statuses) in choices {
            let app = app([Middleware(try limiter(1), key: .header("x-org-id"), missingKey: choice)])
            try await app.test(.router) { client in
                var seen: [HTTPResponse.Status] = []
                for headers in [HTTPFields(), try Self.fields(["x-org-id": ""])] {
                    let response = try await client.executeRequest(uri: "/", method: .get, headers: headers, body: nil)
                    seen.append(response.status)
                    if choice == .reject {
                        #expect(String(buffer: response.body).contains("header x-org-id is missing"))
                    }
                }
                #expect(seen == statuses, "\(choice)")
            }
        }
    }

    @Test("a key that is too long is the client's mistake, and is not metered")
    func longKey() async throws {
        let limiter = try limiter()
        try await app([Middleware(limiter, key: .header("x-org-id"))]).test(.router) { client in
            let headers = try Self.fields(["x-org-id": String(repeating: "k", count: 1 << 20)])
            let response = try await client.executeRequest(uri: "/", method: .get, headers: headers, body: nil)
            #expect(response.status == .badRequest)
            #expect(String(buffer: response.body).contains("use at most 1024"))
        }
        #expect(limiter.statistics.decisions.total == 0)
    }

    @Test("a cost may depend on the request; one above the capacity is denied without Retry-After")
    func costs() async throws {
        let limiter = try limiter(10)
        let cost = RequestCost<BasicRequestContext> { request, _ in
            Int(request.uri.path.split(separator: "/").last ?? "") ?? 1
        }
        try await app([Middleware(limiter, key: .init { _, _ in "all" }, cost: cost)]).test(.router) { client in
            let statuses = try await ["/items/7", "/items/4", "/items/11", "/items/-1"].mapAsync { path in
                let response = try await client.executeRequest(uri: path, method: .get, headers: [:], body: nil)
                return "\(response.status.code) \(response.headers[.retryAfter] ?? "never")"
            }
            #expect(statuses == ["200 never", "429 1", "429 never", "503 never"])
        }
        try await app([Middleware(limiter, key: .init { _, _ in "other" }, cost: 5)]).test(.router) { client in
            _ = try await client.executeRequest(uri: "/", method: .get, headers: [:], body: nil)
        }
        #expect(try limiter.tryAcquire("other", cost: 0)?.remaining == 5)
    }

    @Test("paths, closures and several keys name different buckets")
    func keys() async throws {
        let keys: [(RequestKey<BasicRequestContext>, sameFor: String, otherFor: String)] = [
            (.path, "/?a=1", "/items/1"), (.all(.header("x-org-id"), .path), "/", "/items/1"),
            (.init { request, _ in request.uri.query }, "/?", "/?b"),
        ]
        for (number, (key, same, other)) in keys.enumerated() {
            let headers = try Self.fields(["x-org-id": "acme"])
            try await app([Middleware(try limiter(1), key: key, missingKey: .share("none"))]).test(.router) { client in
                var statuses: [Int] = []
                for path in ["/", same, other] {
                    statuses.append(
                        try await client.executeRequest(uri: path, method: .get, headers: headers, body: nil).status
                            .code)
                }
                #expect(statuses == [200, 429, 200], "\(number)")
            }
        }
    }

    @Test("a header field that comes twice is no key: one of the two may be forged")
    func repeatedHeader() async throws {
        try await app([Middleware(try limiter(1), key: .header("x-org-id"))]).test(.router) { client in
            var headers = try Self.fields(["x-org-id": "acme"])
            headers.append(HTTPField(name: try Self.name("x-org-id"), value: "forged"))
            let twice = try await client.executeRequest(uri: "/", method: .get, headers: headers, body: nil)
            #expect(twice.status == .badRequest)
            let comma = try Self.fields(["x-org-id": "Acme, Inc."])
            let once = try await client.executeRequest(uri: "/", method: .get, headers: comma, body: nil)
            #expect(once.status == .ok)
        }
    }

    @Test("spellings of a path that lead to one route are one bucket")
    func spellingsOfPaths() async throws {
        try await app([Middleware(try limiter(1), key: .path)]).test(.router) { client in
            var statuses: [Int] = []
            for path in ["/items/1", "/items/1/", "//items/1", "/items//1"] {
                let response = try await client.executeRequest(uri: path, method: .get, headers: [:], body: nil)
                statuses.append(response.status.code)
            }
            #expect(statuses == [200, 429, 429, 429])
        }
    }

    @Test("the bucket of requests without a key is apart from every key")
    func sharedBucketIsApart() async throws {
        let middleware = Middleware(try limiter(1), key: .header("x-org-id"), missingKey: .share("none"))
        try await app([middleware]).test(.router) { client in
            var statuses: [Int] = []
            for headers in [try Self.fields(["x-org-id": "none"]), try Self.fields(["x-org-id": " none"]), [:], [:]] {
                let response = try await client.executeRequest(uri: "/", method: .get, headers: headers, body: nil)
                statuses.append(response.status.code)
            }
            #expect(statuses[0] == 200 && statuses[2...] == [200, 429])
        }
    }

    @Test("parts of a combined key cannot be moved from one to the other")
    func combinedKeys() async throws {
        let key = RequestKey<BasicRequestContext>.all(.header("x-a"), .header("x-b"))
        try await app([Middleware(try limiter(1), key: key)]).test(.router) { client in
            for (first, second) in [("a", "b"), ("a,1:b", "b"), ("a1:", "b"), ("1:a", "b")] {
                let headers = try Self.fields(["x-a": first, "x-b": second])
                let response = try await client.executeRequest(uri: "/", method: .get, headers: headers, body: nil)
                #expect(response.status == .ok, "\(first) \(second)")
            }
            let one = try await client.executeRequest(
                uri: "/", method: .get, headers: try Self.fields(["x-a": "a"]), body: nil)
            #expect(one.status == .badRequest)
            #expect(String(buffer: one.body).contains("header x-a and header x-b is missing"))
        }
    }

    @Test("an error of the route passes through, and its token stays spent")
    func throwingRoutes() async throws {
        let limiter = try limiter(3)
        try await app([Middleware(limiter, key: .init { _, _ in "all" })]).test(.router) { client in
            let conflict = try await client.executeRequest(uri: "/throws", method: .get, headers: [:], body: nil)
            #expect(conflict.status == .conflict && String(buffer: conflict.body).contains("no"))
            let failure = try await client.executeRequest(uri: "/fails", method: .get, headers: [:], body: nil)
            #expect(failure.status == .internalServerError)
            let missing = try await client.executeRequest(uri: "/nowhere", method: .get, headers: [:], body: nil)
            #expect(missing.status == .notFound)
        }
        #expect(try limiter.tryAcquire("all", cost: 0)?.remaining == 0)
    }

    @Test("the handler of denials decides the response, which keeps the headers")
    func onDenied() async throws {
        let middleware = Middleware(try limiter(1), key: .init { _, _ in "all" }) { decision, _, _ in
            Response(status: .init(code: 420), body: .init(byteBuffer: ByteBuffer(string: "\(decision.outcome)")))
        }
        try await app([middleware]).test(.router) { client in
            _ = try await client.executeRequest(uri: "/", method: .get, headers: [:], body: nil)
            let denied = try await client.executeRequest(uri: "/", method: .get, headers: [:], body: nil)
            #expect(denied.status.code == 420 && String(buffer: denied.body) == "denied")
            #expect(denied.headers[try Self.name("X-RateLimit-Limit")] == "1")
        }
    }

    @Test("with two limits the headers are those of the tightest, or of the one that denied")
    func twoLimits() async throws {
        let key = RequestKey<BasicRequestContext> { _, _ in "all" }
        let (wide, narrow) = (try limiter(100), try limiter(2))
        for order in [[wide, narrow], [narrow, wide]] {
            clock.advance(by: .seconds(1000))
            try await app(order.map { Middleware($0, key: key) }).test(.router) { client in
                for (status, remaining) in [(200, "1"), (200, "0"), (429, "0")] {
                    let response = try await client.executeRequest(uri: "/", method: .get, headers: [:], body: nil)
                    #expect(response.status.code == status)
                    #expect(response.headers[try Self.name("X-RateLimit-Limit")] == "2")
                    #expect(response.headers[try Self.name("X-RateLimit-Remaining")] == remaining)
                }
            }
        }
    }

    @Test("a limiter that is not running gives 503, and a refused request 503 with Retry-After")
    func unavailable() async throws {
        let store = InMemoryStore()
        var settings = LimiterSettings()
        settings.failurePolicy = .closed
        settings.lease.timeout = .milliseconds(5)
        let limiter = try RateLimiter(
            limit: .standard, store: .inMemory(store), settings: settings, clock: store.clock)
        try await app([Middleware(limiter, key: .init { _, _ in "all" })]).test(.router) { client in
            let stopped = try await client.executeRequest(uri: "/", method: .get, headers: [:], body: nil)
            #expect(stopped.status == .serviceUnavailable)
            try await limiter.withRunning {
                store.isReachable = false
                let refused = try await client.executeRequest(uri: "/", method: .get, headers: [:], body: nil)
                #expect(refused.status == .serviceUnavailable && refused.headers[.retryAfter] == "1")
                #expect(String(buffer: refused.body).contains("\"error\":\"Service Unavailable\""))
            }
        }
    }
}

extension Array {
    fileprivate func mapAsync<Result>(_ body: (Element) async throws -> Result) async throws -> [Result] {
        var results: [Result] = []
        for element in self { results.append(try await body(element)) }
        return results
    }
}
