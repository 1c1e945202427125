import Cistern
import CisternTestSupport
import Testing

@Suite("Allocations of RateLimiter")
struct FacadeAllocationTests {
    private static let key = "00000000-0000-4000-8000-000000000001"

    /// Makes 10,000 decisions twice, and returns the bytes that the second round allocates, and its allowed decisions.
    private func decide(
        by limiter: RateLimiter, with body: (RateLimiter) async throws -> Decision?
    ) async throws -> (bytes: UInt64, allowed: Int) {
        var (before, bytes, allowed) = (UInt64(0), UInt64(0), 0)
        for _ in 0..<2 {
            before = AllocationCounter.bytesOfThisThread()
            allowed = 0
            for _ in 0..<10_000 where try await body(limiter)?.isAllowed == true { allowed += 1 }
            bytes = AllocationCounter.bytesOfThisThread() - before
        }
        // Reading the counter allocates the same each time.
        let first = AllocationCounter.bytesOfThisThread()
        return (bytes - (AllocationCounter.bytesOfThisThread() - first), allowed)
    }

    @Test("a decision from memory allocates nothing, allowed or denied")
    @MainActor
    func memory() async throws {
        let limiter = try RateLimiter(limit: .perSecond(1, capacity: 15_000), clock: ManualClock())
        let waiting = try await decide(by: limiter) { try await $0.acquire(Self.key) }
        #expect(waiting.bytes == 0 && waiting.allowed == 5000)
        let trying = try await decide(by: limiter) { try $0.tryAcquire(Self.key) }
        #expect(trying.bytes == 0 && trying.allowed == 0)
    }

    @Test("a decision from a lease allocates nothing")
    @MainActor
    func leased() async throws {
        let store = InMemoryStore()
        var settings = LimiterSettings()
        // No renewal before the lease is used up.
        settings.lease.prefetch = .zero
        let limiter = try RateLimiter(
            limits: Limits(standard: .perSecond(1, capacity: 100_000)), store: .inMemory(store), settings: settings,
            sizing: FixedSizing(tokens: 50_000), clock: store.clock)
        let (waiting, trying) = try await limiter.withRunning {
            _ = try await limiter.acquire(Self.key)
            let waiting = try await decide(by: limiter) { try await $0.acquire(Self.key) }
            return (waiting, try await decide(by: limiter) { try $0.tryAcquire(Self.key) })
        }
        #expect(waiting.bytes == 0 && waiting.allowed == 10_000)
        #expect(trying.bytes == 0 && trying.allowed == 10_000)
        #expect(store.requestCount == 2)
    }

    @Test("a denial from memory allocates nothing, although the bucket is in a store")
    @MainActor
    func denied() async throws {
        let store = InMemoryStore()
        let limiter = try RateLimiter(
            limit: .perSecond(1, capacity: 1), store: .inMemory(store), clock: store.clock)
        let denied = try await limiter.withRunning {
            for _ in 0..<2 { _ = try await limiter.acquire(Self.key) }
            return try await decide(by: limiter) { try await $0.acquire(Self.key) }
        }
        #expect(denied.bytes == 0 && denied.allowed == 0)
    }
}
