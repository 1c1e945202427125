import Cistern
import Testing

@testable import CisternSimulation

@Suite("Populations of keys in groups")
struct PopulationTests {
    @Test(
        "the groups add up to the number of keys and to the whole load",
        arguments: [(1, 0.0), (7, 0), (1000, 0), (1000, 0.5), (1000, 1), (50_000, 1.3)])
    func addsUp(keys: Int, exponent: Double) {
        for groups in [1, 2, 8, 40, 256] {
            let population = Population(keys: keys, exponent: exponent, groups: groups)
            #expect(population.keys == keys)
            #expect(population.groups.count <= groups)
            #expect(population.groups.allSatisfy { $0.count >= 1 })
            let load = population.groups.reduce(0) { $0 + Double($1.count) * $1.load }
            #expect(abs(load / Double(keys) - 1) < 1e-9)
            #expect(zip(population.groups, population.groups.dropFirst()).allSatisfy { $0.load >= $1.load })
            #expect(groups == 1 || population.groups[0].count == 1)
        }
    }

    @Test("groups of one key each follow Zipf's law")
    func zipf() {
        let groups = Population(keys: 4, exponent: 1, groups: 4).groups
        #expect(groups.map(\.count) == [1, 1, 1, 1])
        for (index, group) in groups.enumerated() {
            #expect(abs(groups[0].load / group.load - Double(index + 1)) < 1e-12)
        }
    }

    @Test("loads are capped at the maximum, and the capped keys after the first form one group")
    func limited() {
        let population = Population(keys: 1000, exponent: 1, groups: 30, most: 8)
        // 1000 / H(1000) = 133.6, so the 16 busiest keys exceed the maximum of 8.
        #expect(population.limited == 16)
        #expect(population.groups.prefix(2) == [.init(count: 1, load: 8), .init(count: 15, load: 8)])
        #expect(population.groups.dropFirst(2).allSatisfy { $0.load < 8 })
        #expect(population.groups.count == 30)
    }

    @Test("the exponential function comes from a series, so populations are the same on every machine")
    func powers() {
        #expect(exponential(0) == 1)
        #expect(abs(exponential(1) - 2.718_281_828_459_045) < 1e-15)
        for value in stride(from: -20.0, through: 20, by: 0.37) {
            #expect(abs(logarithm(exponential(value)) - value) < 1e-13)
        }
    }

    @Test("a population in groups gives the same figures as all its keys, within 5 %")
    func standsForMany() throws {
        var settings = WorldSettings(seed: 3, limit: try Limit(capacity: 100, refillPerSecond: 100))
        settings.servers = 2
        settings.durationMilliseconds = 5000
        settings.keys = 24
        let all = World(settings).run()
        settings.keys = 6
        settings.population = Population(keys: 24, exponent: 0, groups: 6)
        let few = World(settings).run()
        #expect(few.violations.isEmpty && all.violations.isEmpty)
        for (one, other) in [
            (Double(few.requests), Double(all.requests)), (few.storeCallsPerSecond, all.storeCallsPerSecond),
            (Double(few.givenTokens), Double(all.givenTokens)),
        ] {
            #expect(abs(one / other - 1) < 0.05, "\(one) and \(other)")
        }
    }

    @Test("a population of equal keys in groups of one changes nothing")
    func changesNothing() throws {
        for seed in UInt64(1)...3 {
            var settings = WorldSettings(seed: seed, limit: try Limit(capacity: 100, refillPerSecond: 100))
            settings.keys = 3
            settings.durationMilliseconds = 2000
            let plain = World(settings).run()
            settings.population = Population(keys: 3, exponent: 0, groups: 3)
            #expect("\(World(settings).run())" == "\(plain)")
        }
    }

    @Test("a world without groups keeps the figures from before groups existed")
    func digests() throws {
        let settings = WorldSettings(
            seed: 1, limit: try Limit(capacity: 1000, refillPerSecond: 1000), workload: .bursty)
        let outcome = World(settings).run()
        #expect(outcome.requests == 28_587)
        #expect(outcome.storeCalls == 881)
        #expect(String(outcome.digest, radix: 16) == "efad6d3601ad8058")
    }
}
