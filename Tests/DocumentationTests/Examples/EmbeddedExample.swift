// The example of the documents. `DocumentationTests.swiftBlocks` checks that they show parts of this file.
// begin
import Cistern
import CisternRedis

func ask(_ organization: String, redis url: String) async throws -> String {
    let limiter = try RateLimiter(limit: .perSecond(10, capacity: 100), store: .redis(url))
    return try await limiter.withRunning {
        let decision = try await limiter.acquire(organization)
        return decision.isAllowed ? "\(decision.remaining) left" : "retry in \(decision.retryAfter ?? .zero)"
    }
}
// end
