import Cistern
import CisternTestSupport
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NIOEmbedded
import Testing

@testable import CisternHummingbird

/// Compares the memory that a request allocates with the middleware, and with a handler that sets its headers by hand.
@Suite("Allocations of the middleware")
struct MiddlewareAllocationTests {
    private let requests = 1000

    /// The bytes that each request allocates on this thread, after a first run that fills caches.
    private func bytesPerRequest(_ body: () async throws -> Void) async throws -> Double {
        for _ in 0..<requests { try await body() }
        let before = AllocationCounter.bytesOfThisThread()
        for _ in 0..<requests { try await body() }
        return Double(AllocationCounter.bytesOfThisThread() - before) / Double(requests)
    }

    @Test("a decision from memory costs no allocation beyond those of the header fields")
    @MainActor
    func countsAllocations() async throws {
        let limiter = try RateLimiter(limit: .perSecond(1_000_000, capacity: 1_000_000), clock: ManualClock())
        let middleware = RateLimitMiddleware<BasicRequestContext>(limiter, key: .header("x-org-id"))
        let name = try #require(HTTPField.Name("x-org-id"))
        let request = Request(
            head: HTTPRequest(
                method: .get, scheme: nil, authority: nil, path: "/",
                headerFields: [name: "00000000-0000-4000-8000-000000000001"]),
            body: RequestBody(buffer: ByteBuffer()))
        let context = BasicRequestContext(
            source: ApplicationRequestContextSource(channel: EmbeddedChannel(), logger: Logger(label: "test")))
        let response = Response(status: .ok)
        let byHand = try await bytesPerRequest {
            var response = response
            // Of several limits, the headers show the tightest.
            guard response.headers[.rateLimitRemaining] == nil else { return }
            response.headers[.rateLimitLimit] = "1000000"
            response.headers[.rateLimitRemaining] = "999999"
            response.headers[.rateLimitReset] = "2024-02-04T10:30:10Z"
            _ = request.headers[name]
        }
        let byMiddleware = try await bytesPerRequest {
            _ = try await middleware.handle(request, context: context) { _, _ in response }
        }
        #expect(byHand > 0)
        #expect(byMiddleware <= byHand, "\(byMiddleware) bytes instead of \(byHand)")
    }
}
