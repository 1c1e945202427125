import Cistern
import CisternTesting
import Synchronization
import Testing

/// Run under the thread sanitizer by `make test`, too.
@Suite("Under many threads")
struct ConcurrencyTests {
    @Test("an embedded bucket admits exactly its capacity")
    func embedded() async {
        let limiter = RateLimiter(limits: Limits(), seed: 3)
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

    @Test("newcomers of many shards at once all find a bucket of their own")
    func newcomers() async {
        let limiter = RateLimiter(limits: Limits(), seed: 3)
        let now = Instant(milliseconds: 1)
        let allowed = await withTaskGroup(of: Int.self) { group in
            for task in 0..<8 {
                group.addTask {
                    // Two of the tasks go for each bucket.
                    (0..<2000).count { number in
                        limiter.decideNow("org-\(task / 2)-\(number)".utf8.span, cost: 60, now: now)?.isAllowed ?? false
                    }
                }
            }
            return await group.reduce(0, +)
        }
        // Of 100 tokens one request of 60 is paid, whichever of the two comes first.
        #expect(allowed == 4 * 2000)
        #expect(limiter.statistics.cachedBuckets == 4 * 2000)
    }

    @Test("leases admit exactly what the store grants, and every request is answered once")
    func leased() async {
        let store = SlowStore(tokens: 3000)
        let limiter = RateLimiter(limits: Limits(), store: store, lesseeID: "server-1", seed: 3)
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

/// A store that grants from one pot for all, and answers from threads of its own.
private final class SlowStore: LeaseStore {
    private let pot: Atomic<Int>

    init(tokens: Int) {
        pot = Atomic(tokens)
    }

    func lease(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        Task.detached {
            let (granted, left) = self.take(request.needed)
            // While there is any left every bucket looks full, so that nobody is denied from memory too early.
            let balance: Int64 = left > 0 ? 100_000_000 : 0
            reply(.success(.plain(granted, held: request.held, openMicrotokens: balance)), request.sentAt)
        }
    }

    private func take(_ needed: Int) -> (granted: Int, left: Int) {
        var before = pot.load(ordering: .relaxed)
        while true {
            let granted = min(before, needed)
            let (exchanged, original) = pot.compareExchange(
                expected: before, desired: before - granted, ordering: .acquiringAndReleasing)
            if exchanged { return (granted, before - granted) }
            before = original
        }
    }
}
