import CisternSupport
import CisternTestSupport
import CisternTesting
import Synchronization
import Testing

@testable import Cistern

/// Several limiters share one bucket whose node fails permanently at a random moment.
@Suite("The failure policy local in a fleet")
struct LocalFleetTests {
    /// The node: one bucket with the Lua script's arithmetic, until the node fails.
    private final class Node: Sendable {
        private let bucket: Mutex<StoreBucket>
        private let isDead = Atomic(false)
        let clock: ManualClock

        init(_ limit: Limit, clock: ManualClock) {
            bucket = Mutex(StoreBucket(full: limit, nowMilliseconds: clock.now().milliseconds))
            self.clock = clock
        }

        func die() { isDead.store(true, ordering: .relaxed) }

        func apply(_ request: LeaseRequest) -> Grant? {
            guard !isDead.load(ordering: .relaxed) else { return nil }
            return bucket.withLock { $0.apply(request, nowMilliseconds: clock.now().milliseconds) }
        }
    }

    /// A server's clock, which runs faster or slower than the node's.
    private struct SkewedClock: TimeSource {
        let clock: ManualClock
        let perMille: Int64

        func now() -> Instant { Instant(nanoseconds: clock.now().nanoseconds / 1000 * (1000 + perMille)) }
    }

    /// One server's connection to the node, which notices the failure by a failed request.
    private final class Link: LeaseStore {
        private let node: Node
        private let clock: SkewedClock
        private let millionths: Int64
        private let lostAt = Mutex<Instant?>(nil)

        init(_ node: Node, clock: SkewedClock, millionths: Int64) {
            self.node = node
            self.clock = clock
            self.millionths = millionths
        }

        func isReachable(_ partition: PartitionID) -> Bool { lostAt.withLock { $0 == nil } }

        func localFraction(of partition: PartitionID) -> LocalFraction? {
            lostAt.withLock { $0.map { LocalFraction(millionths: millionths, lostAt: $0) } }
        }

        func lease(
            _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
        ) {
            let now = clock.now()
            if let grant = node.apply(request) { return reply(.success(grant), now) }
            lostAt.withLock { $0 = $0 ?? now }
            reply(.failure(.unreachable), now)
        }
    }

    @Test("all servers together admit no more than one bucket would, before and after the loss", arguments: 1...40)
    func keepTheLimit(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let limit = try Limit(
            capacity: Int.random(in: seed % 4 == 0 ? 1...6 : 5...2000, using: &random),
            refillPerSecond: Double(Int.random(in: 1...2_000_000, using: &random)) / 1000)
        let servers = Int.random(in: 1...6, using: &random)
        let clock = ManualClock(milliseconds: 50_000)
        let node = Node(limit, clock: clock)
        var settings = LimiterSettings()
        settings.failurePolicy = .local
        settings.lease.clockDriftPerMille = Int64.random(in: 0...50, using: &random)
        let drift = settings.lease.clockDriftPerMille
        let clocks = (0..<servers).map { _ in
            SkewedClock(clock: clock, perMille: Int64.random(in: -drift...drift, using: &random))
        }
        let limiters = clocks.enumerated().map { number, clock in
            RateLimiterEngine(
                limits: Limits(standard: limit),
                store: Link(node, clock: clock, millionths: 1_000_000 / Int64(servers)),
                lesseeID: "server-\(number)", settings: settings, seed: seed)
        }
        // If there are fewer tokens than servers, each server may still get one whole token.
        let ceiling = Int64(max(limit.capacity, servers)) * 1_000_000 + limit.refillUnitsPerMillisecond
        // Each clock is read in whole milliseconds, so one may be 1 ms ahead; the ceiling includes that refill.
        var ideal = TokenBucket(
            units: ceiling, asOfMilliseconds: clock.now().milliseconds)
        // Some seeds overload the bucket, so that trickle grants have promised the refill when the node fails.
        let perSecond = limit.refillPerSecond * Double.random(in: 0.3...4, using: &random)
        let dieAt = Int64.random(in: 0...4000, using: &random)
        let heavy = Int.random(in: 0..<servers, using: &random)
        var (due, admitted, afterwards) = (0.0, 0, 0)
        for millisecond in 0..<Int64(9000) {
            if millisecond == dieAt { node.die() }
            due += min(perSecond / 1000, 20)
            while due >= 1 {
                due -= 1
                let server = Bool.random(using: &random) ? heavy : Int.random(in: 0..<servers, using: &random)
                let outcomes = DecisionLog()
                let decision = limiters[server].decide("org".utf8.span, now: clocks[server].now()) { outcomes.add($0) }
                let outcome = decision?.outcome ?? outcomes.outcomes.first
                #expect(outcome == .allowed || outcome == .denied)
                guard outcome == .allowed else { continue }
                ideal.refill(
                    limit, ceilingUnits: ceiling, nowMilliseconds: clock.now().milliseconds)
                let couldPay = ideal.take(1_000_000)
                #expect(couldPay, "seed \(seed), \(millisecond) ms, lost at \(dieAt) ms")
                guard couldPay else { return }
                admitted += 1
                if millisecond > dieAt + 3500 { afterwards += 1 }
            }
            if millisecond % 50 == 0 {
                for (limiter, clock) in zip(limiters, clocks) { limiter.returnIdleLeases(now: clock.now()) }
            }
            clock.advance(milliseconds: 1)
        }
        // Service continues after the leases have expired, if a local fraction yields whole tokens.
        let inflow = min(limit.refillPerSecond, perSecond) / Double(servers)
        if inflow >= 2, limit.capacity / servers >= 3 { #expect(afterwards > 0, "\(limit), \(servers) servers") }
        #expect(admitted > 0)
    }
}
