import CisternSupport
import CisternTesting
import Synchronization
import Testing

@testable import Cistern

/// `allowNow` must return what `decideNow` decides, for every request.
@Suite("allowNow")
struct AllowNowTests {
    /// Keys of every length that has its own code path.
    private static let names = [1, 8, 20, 33, 36, 36, 36, 37, 60].enumerated().map { number, length in
        String(repeating: "\(number)", count: length)
    }

    /// A store that replies at once, grants fewer tokens than requested and fails every ninth call.
    private final class StingyStore: LeaseStore {
        private let calls = Mutex(0)

        func lease(
            _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
        ) {
            let call = calls.withLock { calls in
                calls += 1
                return calls
            }
            guard call % 9 != 0 else { return reply(.failure(.unreachable), request.sentAt) }
            let tokens = min(
                request.missingTokens + request.requested.prefetchTokens, call % 12,
                request.limit.capacity - request.held)
            reply(
                .success(
                    Grant(
                        tokens: tokens, held: request.held, openUnits: 0,
                        openRefillUnitsPerMillisecond: request.limit.refillUnitsPerMillisecond,
                        outstanding: request.held + tokens)), request.sentAt)
        }
    }

    /// The result of one request: the immediate decision, or the decisions made after the store replied.
    private struct DecisionPath: Equatable {
        var atOnce: Bool?
        var later: [Bool] = []
    }

    private func course(
        _ limiter: RateLimiterEngine, _ name: String, cost: Int, now: Instant, atOnce: (Span<UInt8>) -> Bool?
    ) -> DecisionPath {
        var course = DecisionPath(atOnce: atOnce(name.utf8.span))
        guard course.atOnce == nil else { return course }
        let log = DecisionLog()
        let decision = limiter.decide(name.utf8.span, cost: cost, now: now) { log.add($0) }
        course.later = ([decision].compactMap(\.self) + log.all).map(\.isAllowed)
        return course
    }

    private func agree(_ one: RateLimiterEngine, _ other: RateLimiterEngine) {
        var random = SeededRandom(seed: 5)
        var now = Instant(milliseconds: 1000)
        var (yes, no, waited) = (0, 0, 0)
        for _ in 0..<10_000 {
            now = Instant(nanoseconds: now.nanoseconds + Int64.random(in: 0...3_000_000, using: &random))
            let name = Self.names[Int.random(in: 0..<Self.names.count, using: &random)]
            let cost = Int.random(in: 0...3, using: &random)
            let all = course(one, name, cost: cost, now: now) { one.decideNow($0, cost: cost, now: now)?.isAllowed }
            let alone = course(other, name, cost: cost, now: now) { other.allowNow($0, cost: cost, now: now) }
            #expect(all == alone)
            if all.atOnce == nil { waited += 1 }
            if all.atOnce ?? all.later.first == true { yes += 1 } else { no += 1 }
        }
        #expect(one.statistics.decisions == other.statistics.decisions)
        #expect(one.statistics.leaseTokens == other.statistics.leaseTokens)
        #expect(yes > 1000 && no > 1000, "\(yes) allowed, \(no) not")
        #expect(one.leaseSettings == nil ? waited == 0 : waited > 100, "\(waited) waited")
    }

    @Test("allowNow and decideNow agree with the embedded store")
    func embedded() throws {
        let limits = Limits(standard: try Limit(capacity: 30, refillPerSecond: 40))
        agree(RateLimiterEngine(limits: limits, seed: 1), RateLimiterEngine(limits: limits, seed: 1))
    }

    @Test("allowNow and decideNow agree with leased tokens")
    func leased() throws {
        let limits = Limits(standard: try Limit(capacity: 30, refillPerSecond: 10))
        let limiters = (0..<2).map { _ in
            RateLimiterEngine(limits: limits, store: StingyStore(), lesseeID: "s", seed: 1)
        }
        agree(limiters[0], limiters[1])
    }
}
