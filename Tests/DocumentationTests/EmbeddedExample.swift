// The example of the documents. `DocumentationTests.swiftBlocks` checks that they show parts of this file.
// begin
import Cistern
import CisternRedis

func ask(_ organization: String, redis url: String) async throws -> String {
    let clock = ClockTimeSource(ContinuousClock())
    let store = try RedisStore(url: url, clock: clock)
    await store.start()
    let (lesseeID, seed) = ("\(UInt64.random(in: 0 ... .max))", UInt64.random(in: 0 ... .max))
    let limiter = RateLimiter(limits: Limits(standard: .standard), store: store, lesseeID: lesseeID, seed: seed)
    let decision = await limiter.decide(organization, now: clock.now())
    return decision.isAllowed ? "\(decision.remaining) left" : "retry in \(decision.retryAfterMilliseconds) ms"
}
// end
