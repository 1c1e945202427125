import Cistern
import CisternTesting
import Testing

/// The engine's allocations.
@Suite("Allocations")
struct AllocationTests {
    /// The bytes that the second of two runs allocates; the first run includes one-time setup by the runtime.
    @inline(never)
    private func bytesAllocated(by body: () -> Void) -> UInt64 {
        body()
        let before = AllocationCounter.bytesOfThisThread()
        let between = AllocationCounter.bytesOfThisThread()
        body()
        // Subtracts what reading the counter itself allocates, the same each time.
        return AllocationCounter.bytesOfThisThread() - between - (between - before)
    }

    private let organization = "00000000-0000-4000-8000-000000000001"

    /// The decision of a limiter, by `decideNow` in even steps and by `allowNow` in odd steps.
    private func isAllowed(_ step: Int, by limiter: RateLimiterEngine, now: Instant) -> Bool? {
        step % 2 == 0
            ? limiter.decideNow(organization.utf8.span, now: now)?.isAllowed
            : limiter.allowNow(organization.utf8.span, now: now)
    }

    @Test("the allocation counter counts")
    func counts() {
        var array: [Int] = []
        let bytes = bytesAllocated { array = Array(0..<10_000) }
        #expect(bytes >= 80_000)
        #expect(array.count == 10_000)
    }

    @Test("a decision of the embedded store allocates nothing, allowed or denied")
    func embedded() {
        let limiter = RateLimiterEngine(limits: Limits(), seed: 1)
        var allowed = 0
        let bytes = bytesAllocated {
            for step in 0..<10_000 {
                let now = Instant(milliseconds: 1 + Int64(step))
                if isAllowed(step, by: limiter, now: now) == true { allowed += 1 }
            }
        }
        #expect(bytes == 0)
        #expect((100...400).contains(allowed))
    }

    @Test("a decision from a lease allocates nothing, nor does a denial from memory")
    func leased() throws {
        let store = ScriptedStore()
        let limit = try Limit(capacity: 100_000, refillPerSecond: 1)
        let limiter = RateLimiterEngine(limits: Limits(standard: limit), store: store, lesseeID: "s", seed: 1)
        let now = Instant(milliseconds: 1)
        let log = DecisionLog()
        #expect(limiter.decide(organization.utf8.span, now: now, resume: { log.add($0) }) == nil)
        store.answer(.success(.plain(15_001, limit: limit)), now: now)
        var outcomes = (allowed: 0, denied: 0)
        let bytes = bytesAllocated {
            for step in 0..<10_000 {
                switch isAllowed(step, by: limiter, now: now) {
                case true: outcomes.allowed += 1
                case false: outcomes.denied += 1
                default: break
                }
            }
        }
        #expect(bytes == 0)
        #expect(outcomes == (15_000, 5000))
    }

    @Test("a decision while the store is unreachable allocates nothing")
    func unmetered() {
        let store = ScriptedStore()
        store.setReachable(false)
        let limiter = RateLimiterEngine(limits: Limits(), store: store, lesseeID: "s", seed: 1)
        var unmetered = 0
        let bytes = bytesAllocated {
            for _ in 0..<10_000 {
                let decision = limiter.decideNow(organization.utf8.span, now: Instant(milliseconds: 1))
                if decision?.outcome == .unmetered { unmetered += 1 }
            }
        }
        #expect(bytes == 0)
        #expect(unmetered == 20_000)
    }
}
