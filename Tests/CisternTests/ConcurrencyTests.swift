import Cistern
import CisternTesting
import Synchronization
import Testing

/// `make test` also runs these tests under the thread sanitizer.
@Suite("Under many threads")
struct ConcurrencyTests {
    @Test("an embedded bucket admits exactly its capacity")
    func embedded() async {
        let limiter = RateLimiterEngine(limits: Limits(), seed: 3)
        let now = Instant(milliseconds: 1)
        let allowed = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    (0..<5000).count { number in
                        limiter.decideNow("org-\(number % 50)".utf8.span, now: now)?.isAllowed ?? false
                    }
                }
            }
            return await group.reduce(0, +)
        }
        #expect(allowed == 50 * 100)
        #expect(limiter.statistics.decisions.allowed == 5000)
        #expect(limiter.statistics.decisions.denied == 8 * 5000 - 5000)
    }

    @Test("new keys in many shards at once each get their own bucket")
    func newcomers() async {
        let limiter = RateLimiterEngine(limits: Limits(), seed: 3)
        let now = Instant(milliseconds: 1)
        let allowed = await withTaskGroup(of: Int.self) { group in
            for task in 0..<8 {
                group.addTask {
                    // Two tasks compete for each bucket.
                    (0..<2000).count { number in
                        limiter.decideNow("org-\(task / 2)-\(number)".utf8.span, cost: 60, now: now)?.isAllowed ?? false
                    }
                }
            }
            return await group.reduce(0, +)
        }
        // 100 tokens pay only one of the two requests of 60.
        #expect(allowed == 4 * 2000)
        #expect(limiter.statistics.cachedBuckets == 4 * 2000)
    }

    @Test("leases admit exactly what the store grants, and every request is answered once")
    func leased() async {
        let store = SlowStore(tokens: 3000)
        let limiter = RateLimiterEngine(limits: Limits(), store: store, lesseeID: "server-1", seed: 3)
        let allowed = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    var allowed = 0
                    for number in 0..<1000 {
                        let now = Instant(milliseconds: 1)
                        if await limiter.decide("org-\(number % 7)", now: now).isAllowed { allowed += 1 }
                    }
                    return allowed
                }
            }
            return await group.reduce(0, +)
        }
        #expect(allowed == 3000)
        #expect(limiter.statistics.decisions.denied == 5000)
        let tokens = limiter.statistics.leaseTokens
        #expect(tokens.granted == 3000 && tokens.spent == 3000)
    }
}

/// A store that grants from one pool for all keys and replies on other threads.
private final class SlowStore: LeaseStore {
    private let pot: Atomic<Int>

    init(tokens: Int) {
        pot = Atomic(tokens)
    }

    func lease(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        Task.detached {
            let (granted, left) = self.take(request.missingTokens)
            // Every bucket looks full while any token is left, so that no request is denied from memory too early.
            let balance: Int64 = left > 0 ? 100_000_000 : 0
            reply(.success(.plain(granted, held: request.held, openUnits: balance)), request.sentAt)
        }
    }

    private func take(_ missingTokens: Int) -> (granted: Int, left: Int) {
        var before = pot.load(ordering: .relaxed)
        while true {
            let granted = min(before, missingTokens)
            let (exchanged, original) = pot.compareExchange(
                expected: before, desired: before - granted, ordering: .acquiringAndReleasing)
            if exchanged { return (granted, before - granted) }
            before = original
        }
    }
}
