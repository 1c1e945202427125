// The example of the README, to the letter: `ReadmeTests.example` compares the two.
// begin
import Cistern
import CisternRedis
import Logging
import NIOPosix

func makeLimiter(redis url: String, clock: some TimeSource) async throws -> RateLimiter {
    let store = RedisStore(
        endpoint: try RedisEndpoint(url: url), clock: clock,
        eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: Logger(label: "limiter"))
    await store.start()
    let limits = Limits(standard: try Limit(capacity: 100, refillPerSecond: 10))
    return RateLimiter(
        limits: limits, store: store, lessee: "\(UInt64.random(in: 0 ... .max))", seed: .random(in: 0 ... .max))
}

func handle(_ organization: String, _ limiter: RateLimiter, _ clock: some TimeSource) async -> String {
    let decision = await limiter.decide(organization, now: clock.now())
    return decision.isAllowed ? "200, \(decision.remaining) left" : "429, retry in \(decision.retryAfterMilliseconds) ms"
}
// end
