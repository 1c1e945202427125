import CisternProcesses

#if os(Linux)
    import Cistern
    import CisternRedis
    import CisternTesting
    import Foundation
    import Testing

    /// A real redis-server whose clock is set forward and back under load.
    @Suite("A step of the store clock under load", .serialized)
    struct ClockStepTests {
        private static let limit = Result { try Limit(capacity: 1000, refillPerSecond: 1000) }

        @Test(
            "a step over-admits once, by at most the capacity plus trickle grants, and admission soon resumes",
            arguments: [
                (-250, false), (-1000, false), (-15_000, true), (-3_600_000, false), (250, false), (1000, true),
                (3_600_000, false),
            ] as [(milliseconds: Int64, isOneLost: Bool)])
        func steps(milliseconds: Int64, isOneLost: Bool) async throws {
            let clock = try await SteppedClock()
            let redis = try await RedisServer(environment: clock.environment)
            let fleet = try await Fleet(3, urls: [redis.url], limit: Self.limit.get(), policy: .closed)
            let traffic = Traffic(fleet, organizations: ["org-1"], perSecond: 1000)
            try await traffic.goOn(for: 5000)
            if isOneLost { await fleet.servers[2].store.stop() }
            try clock.set(aheadMilliseconds: milliseconds)
            let steppedAt = fleet.clock.now()
            // A lease lasts two seconds.
            try await eventually("more than a lease to pass", within: 60) {
                fleet.clock.now().milliseconds - steppedAt.milliseconds > 2500
            }
            let settledAt = fleet.clock.now()
            try await traffic.goOn(for: 3000)
            let report = try await traffic.stop()
            let (before, after) = (
                report.during(Instant(nanoseconds: 0), steppedAt),
                report.during(settledAt, Instant(nanoseconds: .max))
            )
            print("clock stepped by \(milliseconds) ms, one lost: \(isOneLost): \(report.summary)")
            #expect(before.peakOverAdmission <= 0)
            // Trickle grants hold half of the capacity at most.
            #expect(report.peakOverAdmission <= 1000 + 500)
            let seconds = Double((after.requests.map(\.arrivedAt).max() ?? 0) - settledAt.nanoseconds) / 1e9
            #expect(Double(after.count(.allowed)) >= 500 * seconds, "\(after.summary) in \(seconds) s")
            if milliseconds < 0 {
                #expect(fleet.log.all.contains { $0.contains("clock stepped back") })
            }
            await fleet.stop()
        }
    }
#endif
