import Cistern
import CisternSimulation
import Testing

@Suite("Simulated fleets")
struct WorldTests {
    /// Runs worlds with these seeds; expects no violations, and at least one request in all worlds together.
    private func expectKept(_ seeds: some Sequence<UInt64>, faults: FaultKind) throws {
        var requests = 0
        for seed in seeds {
            let outcome = World(try WorldSettings.small(seed: seed, faults: faults)).run()
            #expect(
                outcome.violations.isEmpty,
                "cistern simulate --seeds \(seed)..\(seed) --faults \(faults.rawValue): \(outcome.violations)")
            requests += outcome.requests
        }
        #expect(requests > 0)
    }

    @Test("500 small worlds have no violations, without faults and with every kind of fault", arguments: 0..<20)
    func fixedSeeds(block: UInt64) throws {
        try expectKept((block * 20 + 1)...(block * 20 + 20), faults: .all)
        try expectKept([block * 5 + 1, block * 5 + 3, block * 5 + 5], faults: .none)
        try expectKept([block * 5 + 2], faults: .network)
        try expectKept([block * 5 + 4], faults: .crash)
        try expectKept((block * 5 + 1)...(block * 5 + 5), faults: .clock)
    }

    @Test("20 worlds with fresh seeds have no violations")
    func freshSeeds() throws {
        let first = UInt64.random(in: 1_000_000..<1 << 40)
        print("fresh seeds: \(first)..\(first + 19)")
        try expectKept(first..<first + 20, faults: .all)
    }

    @Test("a node that loses its data twice within a lease causes no violation (regression test of the checker)")
    func losesDataTwice() throws {
        try expectKept([1_047_219], faults: .all)
    }

    @Test("a trickle grant across a clock step keeps the bound for steps (regression test of the checkers)")
    func stepsOfClocks() throws {
        try expectKept([8014], faults: .all)
        try expectKept([7240], faults: .clock)
    }

    @Test("a slow world that ends before its first request has no violations")
    func isNotAskedForAnything() throws {
        let outcome = World(try WorldSettings.small(seed: 241_962_416_169, faults: .all)).run()
        #expect(outcome.violations.isEmpty)
        #expect(outcome.requests == 0)
        // Seed ranges may contain a world without requests.
        try expectKept(241_962_416_168...241_962_416_169, faults: .all)
    }

    @Test("the same seed gives the same outcome")
    func repeats() throws {
        for seed in UInt64(1)...5 {
            let settings = try WorldSettings.small(seed: seed, faults: .all)
            #expect("\(World(settings).run())" == "\(World(settings).run())")
        }
    }

    @Test("different seeds give different outcomes")
    func differs() throws {
        let requests = try (UInt64(1)...10).map {
            World(try WorldSettings.small(seed: $0, faults: .all)).run().requests
        }
        #expect(Set(requests).count > 5)
    }

    /// One row of the scoreboard.
    struct Row: Sendable {
        var workload: WorkloadKind
        var servers = 8
        var capacity = 1000
        var refill = 1000.0
        /// The maximum of store calls per second; nil if one for each request is allowed.
        var calls: Double?
        var underAdmissionPercent: Double
    }

    @Test(
        "store calls and under-admission stay within the scoreboard, over 30 seconds without faults",
        arguments: [
            Row(workload: .even, calls: 40, underAdmissionPercent: 0.5),
            Row(workload: .bursty, calls: 50, underAdmissionPercent: 1),
            Row(workload: .moving, calls: 10, underAdmissionPercent: 0.2),
            Row(workload: .even, servers: 32, underAdmissionPercent: 3),
            Row(workload: .bursty, servers: 32, underAdmissionPercent: 3),
            Row(workload: .even, servers: 1, calls: 10, underAdmissionPercent: 0.5),
            Row(workload: .bursty, servers: 1, calls: 10, underAdmissionPercent: 2),
            Row(workload: .even, capacity: 100, refill: 10, underAdmissionPercent: 1),
        ])
    func scoreboard(row: Row) throws {
        let limit = try Limit(capacity: row.capacity, refillPerSecond: row.refill)
        var settings = WorldSettings(seed: 1, limit: limit, workload: row.workload)
        settings.servers = row.servers
        let outcome = World(settings).run()
        #expect(outcome.violations.isEmpty)
        #expect(outcome.peakOverAdmissionPercent == 0)
        #expect(outcome.underAdmissionPercent <= row.underAdmissionPercent)
        #expect(outcome.storeCallsPerSecond <= row.calls ?? .infinity)
        #expect(outcome.storeCalls <= outcome.requests)
    }

    @Test(
        "64 servers make no more store calls than one per horizon each, and half as many again, at any load",
        arguments: [0.5, 0.9, 1.5, 3])
    func callsOfManyServers(load: Double) throws {
        var settings = WorldSettings(seed: 1, limit: try Limit(capacity: 5000, refillPerSecond: 5000))
        settings.servers = 64
        settings.load = load
        settings.durationMilliseconds = 10_000
        let outcome = World(settings).run()
        #expect(outcome.violations.isEmpty && outcome.peakOverAdmissionPercent == 0)
        #expect(outcome.storeCallsPerSecond <= 64 * 4 * 1.5)
        #expect(outcome.underAdmissionPercent <= 2)
    }

    @Test("the horizon grows with the number of servers, so that they make a bounded number of store calls")
    func boundedCalls() throws {
        var settings = WorldSettings(seed: 1, limit: try Limit(capacity: 20_000, refillPerSecond: 1000))
        settings.servers = 32
        settings.load = 1.5
        settings.durationMilliseconds = 10_000
        settings.limiter.lease.minimumDemandTokens = 1
        let usual = World(settings).run()
        settings.limiter.lease.callsPerSecond = 20
        let bounded = World(settings).run()
        #expect(usual.violations.isEmpty && bounded.violations.isEmpty)
        #expect(bounded.storeCallsPerSecond < usual.storeCallsPerSecond / 2)
        #expect(bounded.underAdmissionPercent <= 2)
    }

    @Test("the limit holds at full size, with 1 to 20 ms of latency and every fault", arguments: 1...3)
    func slowAndBroken(seed: UInt64) throws {
        var settings = WorldSettings(
            seed: seed, limit: try Limit(capacity: 1000, refillPerSecond: 1000), workload: .bursty)
        settings.faults = .all
        settings.nodes = 3
        settings.keys = 2
        settings.latencyMicroseconds = 1000...20_000
        settings.driftPartsPerMillion = 19_000
        settings.durationMilliseconds = 10_000
        settings.recoveryMilliseconds = 6000
        let outcome = World(settings).run()
        #expect(outcome.violations.isEmpty, "\(outcome.violations)")
        #expect(outcome.peakOverAdmissionPercent == 0)
    }

    @Test("a write-behind limiter exceeds the limit, and a per-request limiter needs many store calls")
    func baselineLimiters() throws {
        let limit = try Limit(capacity: 1000, refillPerSecond: 1000)
        var settings = WorldSettings(seed: 1, limit: limit, workload: .bursty)
        settings.durationMilliseconds = 5000
        settings.policy = .writeBehind
        #expect(World(settings).run().peakOverAdmissionPercent > 10)
        settings.policy = .perRequest
        let outcome = World(settings).run()
        #expect(outcome.peakOverAdmissionPercent == 0 && outcome.violations.isEmpty)
        #expect(outcome.storeCallsPerSecond > 500)
    }
}
