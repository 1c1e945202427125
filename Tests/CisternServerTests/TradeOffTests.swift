import Cistern
import CisternSimulation
import Testing

@testable import CisternCommand

@Suite("The trade-off between lease settings")
struct TradeOffTests {
    private func row(_ calls: Double, _ lost: Double, wait: Double = 0, horizon: Int64 = 250) -> TuneRow {
        var lease = LeaseSettings()
        lease.horizonMilliseconds = horizon
        return TuneRow(
            lease: lease, storeCallsPerSecond: calls, underAdmissionPercent: lost, strandedTokens: 0,
            waitP99Milliseconds: wait,
            overAdmissionPercent: 0)
    }

    private func tradeOff(_ rows: [TuneRow], base: TuneRow? = nil, budget: Double? = nil, storeCapacity: Double = 0)
        -> TradeOff
    {
        TradeOff(
            rows: rows, base: base ?? rows[0], roundTripMilliseconds: 1, budget: budget, storeCapacity: storeCapacity)
    }

    @Test("below a tenth of the store's capacity, low under-admission is better than few store calls")
    func idleStore() {
        let (few, many, tooMany) = (row(100, 0.19, horizon: 400), row(250, 0.02), row(6000, 0, horizon: 10))
        #expect(tradeOff([few, many, tooMany], storeCapacity: 50_000).recommended == many)
        #expect(tradeOff([few, many, tooMany], storeCapacity: 2000).recommended == few)
        #expect(tradeOff([few, many, tooMany], budget: 120, storeCapacity: 50_000).recommended == few)
        #expect(tradeOff([few, many, tooMany], budget: 10, storeCapacity: 50_000).recommended == nil)
        // If no choice is that cheap, the knee is recommended.
        #expect(tradeOff([row(9000, 0.2), row(18_000, 0.1)], storeCapacity: 50_000).recommended != nil)
    }

    @Test("the Pareto front keeps one of equal choices, and no choice that hoards tokens")
    func paretoFront() {
        let (few, middle, many) = (row(10, 3), row(20, 2), row(40, 1))
        let (worse, equal, quick) = (row(21, 2), row(20, 2, horizon: 300), row(60, 2, wait: -0.5))
        var hoarding = row(1, 0)
        hoarding.isStranding = true
        #expect(
            tradeOff([few, worse, middle, equal, many, quick, hoarding]).paretoFront == [few, middle, many, quick])
    }

    @Test("the knee is where halving the store calls begins to cost more than 0.5 % of the requests")
    func knee() {
        let rows = [
            row(400, 0.1, horizon: 50), row(200, 0.2, horizon: 100), row(100, 0.4, horizon: 200),
            row(50, 1.4, horizon: 400), row(25, 4, horizon: 800),
        ]
        #expect(tradeOff(rows).recommended == rows[2])
    }

    @Test("a wait of one round trip counts as much as a doubling of the store calls")
    func wait() {
        let (waiting, calling) = (row(100, 0, wait: 1, horizon: 100), row(150, 0, horizon: 50))
        #expect(tradeOff([waiting, calling]).recommended == calling)
        #expect(tradeOff([waiting, row(250, 0, horizon: 50)]).recommended == waiting)
    }

    @Test("a choice that is better only by chance does not change the settings")
    func keepsWhatHolds() {
        let base = row(100, 0.4)
        #expect(tradeOff([base, row(95, 0.39, horizon: 300)]).recommended == base)
        #expect(tradeOff([base, row(50, 0.4, horizon: 300)]).recommended != base)
    }

    @Test("the recommendation is on the front, even if a worse choice would change fewer settings")
    func isOnTheFront() {
        let (base, worse, best) = (row(100, 0.4), row(50, 0.42, horizon: 300), row(50, 0.4, horizon: 310))
        var far = best
        far.lease.minimumDemandTokens = 10
        #expect(tradeOff([base, worse, far]).recommended == far)
    }

    @Test("within a budget, the least under-admission wins, then the best score; outside it, no choice wins")
    func budget() {
        let rows = [
            row(100, 0.1, horizon: 50), row(40, 0.5, horizon: 100), row(30, 0.52, horizon: 200),
            row(10, 4, horizon: 400),
        ]
        #expect(tradeOff(rows, budget: 1000).recommended == rows[0])
        #expect(tradeOff(rows, budget: 50).recommended == rows[2])
        #expect(tradeOff(rows, budget: 20).recommended == rows[3])
        #expect(tradeOff(rows, budget: 5).recommended == nil)
        #expect(tradeOff(rows, budget: 5).cheapest == rows[3])
    }

    @Test("nearly equal rows are hidden, and no more rows are shown than fit a screen")
    func shown() {
        let close = [row(100, 1), row(98, 1.01, horizon: 300), row(50, 2, horizon: 500)]
        #expect(tradeOff(close).shown(keeping: []).count == 2)
        let many = (1...60).map { row(Double($0 * 10), 600 / Double($0), horizon: Int64($0)) }
        let kept = many[30]
        let shown = tradeOff(many).shown(keeping: [kept])
        #expect(shown.count <= 11 && shown.contains(kept))
        #expect(shown.map(\.storeCallsPerSecond) == shown.map(\.storeCallsPerSecond).sorted())
    }

    @Test("a server accepts every choice, and fixed settings keep their values", arguments: [0.2, 1, 40])
    func space(roundTrip: Double) {
        let free = LeaseSearchSpace(base: LeaseSettings(), kept: [], roundTripMilliseconds: roundTrip)
        #expect(free.first.first == LeaseSettings())
        for lease in free.first + free.first.flatMap({ free.neighbors(of: $0) }) {
            #expect(lease.horizonMilliseconds * 2 <= lease.durationMilliseconds)
            #expect(lease.prefetchMilliseconds * 2 <= lease.horizonMilliseconds)
        }
        let kept = LeaseSearchSpace(
            base: LeaseSettings(), kept: ["leaseHorizon", "leaseIdle"], roundTripMilliseconds: roundTrip)
        for lease in kept.first + kept.first.flatMap({ kept.neighbors(of: $0) }) {
            #expect(lease.horizonMilliseconds == 250 && lease.idleMilliseconds == 250)
        }
    }

    // MARK: Scale of the simulation

    private func workload(
        servers: Int = 8, organizations: Int = 1, skew: Double = 0, capacity: Int = 1000, refill: Double = 1000,
        load: Double = 2, kind: WorkloadKind = .even
    ) throws -> TuneWorkload {
        TuneWorkload(
            servers: servers, organizations: organizations, skew: skew,
            limit: try Limit(capacity: capacity, refillPerSecond: refill), load: load, roundTripMilliseconds: 1,
            kind: kind)
    }

    @Test("a small workload is simulated without scaling")
    func smallScale() throws {
        let scale = try TuneScale(try workload(organizations: 5, capacity: 100, refill: 10), durationMilliseconds: 5000)
        #expect(scale.tokens == 1 && scale.population.groups.map(\.count) == [1, 1, 1, 1, 1])
        #expect(scale.sentence == "simulated for each choice: 5 s of 5 organizations at 8 servers")
    }

    @Test("a large workload is represented by a smaller one, at bounded cost")
    func largeScale() throws {
        let many = try TuneScale(try workload(organizations: 100_000, skew: 1), durationMilliseconds: nil)
        #expect(many.population.keys == 100_000)
        #expect(many.population.groups.allSatisfy { $0.load * 2 <= 8.000_001 })
        #expect(many.work <= TuneScale.maximumWork)
        let fast = try TuneScale(try workload(capacity: 100_000, refill: 100_000), durationMilliseconds: nil)
        #expect(fast.tokens > 1 && fast.work <= TuneScale.targetWork * 1.1)
        let settings = try fast.settings(seed: 1, limiter: LimiterSettings(), lease: LeaseSettings())
        #expect(settings.limit.capacity == 100_000 / fast.tokens)
        #expect(settings.latencyMicroseconds == 200...800)
        // This workload has costs of several tokens, which cannot be scaled down.
        #expect(throws: FlagError.self) {
            try TuneScale(
                try self.workload(capacity: 10_000_000, refill: 10_000_000, kind: .mixed), durationMilliseconds: 60_000)
        }
    }

    @Test("the simulation lasts until slowly draining buckets have long been empty")
    func slowDrain() throws {
        let scale = try TuneScale(try workload(capacity: 10_000, refill: 1000), durationMilliseconds: nil)
        #expect(scale.durationMilliseconds >= 30_000)
    }

    // MARK: Figures of a server

    @Test("the exponent of Zipf-distributed rates is recovered", arguments: [0.0, 0.5, 1, 1.5])
    func skew(exponent: Double) {
        let population = Population(keys: 1000, exponent: exponent, groups: 1000)
        #expect(ServerFigures.skew(of: population.groups.prefix(100).map { $0.load * 7 }) == exponent)
    }

    @Test("random variation gives no skew, and too few organizations give no estimate")
    func noSkew() {
        #expect(ServerFigures.skew(of: [105, 103, 101, 100, 98, 97, 95]) == 0)
        #expect(ServerFigures.skew(of: [100, 50, 30, 20]) == nil)
    }

    @Test("a rate adds allowed and denied requests, and skips entries that are mostly estimation error")
    func rates() {
        let list = { (entries: [(String, Double, Double)]) in
            ServerFigures.Busiest(
                organizations: entries.map { .init(organization: $0.0, perSecond: $0.1, errorPerSecond: $0.2) })
        }
        let rates = ServerFigures.rates(
            allowed: list([("a", 10, 0), ("b", 10, 1), ("c", 3, 2.9)]), denied: list([("b", 90, 0)]))
        #expect(rates == [100, 10])
    }
}
