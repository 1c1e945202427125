internal import Cistern
internal import CisternServer
internal import CisternSimulation

/// How a workload is made small enough to be simulated many times, and its figures as large again.
///
/// Three things may be scaled, each where it does not change what is looked for. Organizations are independent of each
/// other, so a few stand for many. What is asked beyond eight times the refill is denied from memory, whether it is
/// eight times or a hundred (four times, where the work would be too much). And where every server spends hundreds of tokens a second of each organization, one token
/// stands for several: store calls follow from time, and what is lost is a share of the whole.
struct TuneScale: Sendable {
    let population: Population
    /// How many tokens one simulated token stands for.
    let tokens: Int
    let durationMilliseconds: Int64
    /// What one choice costs to simulate, in units of a request.
    let work: Double
    private let workload: TuneWorkload

    /// The most that an organization is asked for, in multiples of its refill.
    private let highestLoad: Double

    /// What that is unless it costs too much.
    private static let usualLoad = 8.0
    /// The most organizations that are simulated.
    static let mostGroups = 256
    /// What simulating one choice should cost at most, in requests, and what it may where no more can be scaled: a
    /// request takes about 1.5 µs, and there are up to a hundred choices.
    static let usualWork = 200_000.0
    static let highestWork = 4_000_000.0
    /// Tokens a second that a server must have of each organization for one to stand for several.
    private static let leastShare = 100.0

    init(_ workload: TuneWorkload, durationMilliseconds given: Int64?) throws(FlagError) {
        let shortest = given ?? Self.shortestDuration(workload)
        var scale = TuneScale(workload, highestLoad: Self.usualLoad, shortest: shortest, isGiven: given != nil)
        if scale.work > Self.usualWork * 2 {
            // Half of what is enough, and half of the time unless more is wanted.
            let half = given == nil && shortest == 10_000 ? 5000 : shortest
            scale = TuneScale(workload, highestLoad: Self.usualLoad / 2, shortest: half, isGiven: given != nil)
        }
        guard scale.work <= Self.highestWork else {
            throw FlagError(
                "that is too much to simulate a hundred times: use a lower --refill-per-second with as much lower a "
                    + "--capacity, a lower --load, fewer --servers or a shorter --duration")
        }
        self = scale
    }

    private init(_ workload: TuneWorkload, highestLoad: Double, shortest: Int64, isGiven: Bool) {
        self.workload = workload
        self.highestLoad = highestLoad
        // With skew the busiest, the usual and the quiet must each be there.
        let fewest = min(workload.organizations, workload.skew > 0 ? 8 : workload.kind == .flash ? 2 : 1)
        let affordable = Self.usualWork * 1000 / Double(shortest)
        let populate = { (groups: Int) in
            Population(
                keys: workload.organizations, exponent: workload.skew, groups: groups,
                most: highestLoad / workload.load)
        }
        var count = min(workload.organizations, Self.mostGroups)
        var population = populate(count)
        var work = Self.work(workload, population, tokens: 1)
        while work > affordable, count > fewest {
            count = max(fewest, min(count - 1, Int(Double(count) * affordable / work)))
            population = populate(count)
            work = Self.work(workload, population, tokens: 1)
        }
        tokens = work > affordable ? Self.tokens(workload, population, factor: work / affordable) : 1
        self.population = population
        work = Self.work(workload, population, tokens: tokens)
        durationMilliseconds = isGiven ? shortest : max(shortest, min(60_000, Int64(Self.usualWork / work / 5) * 5000))
        self.work = work * Double(durationMilliseconds) / 1000
    }

    /// Ten seconds, or what it takes buckets three times over to run dry, up to a minute.
    private static func shortestDuration(_ workload: TuneWorkload) -> Int64 {
        guard workload.load > 1 else { return 10_000 }
        let dry = Double(workload.limit.capacity) / (workload.limit.refillPerSecond * (workload.load - 1))
        return Int64(min(12, max(2, (dry * 3 / 5).rounded(.up)))) * 5000
    }

    /// What a simulated second costs, in units of a request: a store call costs as much as looking at every server does.
    private static func work(_ workload: TuneWorkload, _ population: Population, tokens: Int) -> Double {
        let servers = Double(workload.servers)
        let refill = workload.limit.refillPerSecond / Double(tokens)
        let requests = population.groups.reduce(0) { $0 + $1.load * workload.load * refill }
        let calls = population.groups.reduce(0) { $0 + min($1.load * workload.load * refill, servers * 10) }
        return requests + calls * (20 + 2 * servers) + servers * 50
    }

    private static func tokens(_ workload: TuneWorkload, _ population: Population, factor: Double) -> Int {
        // Costs of several tokens would not be whole any more.
        guard workload.kind.highestCost == 1, let least = population.groups.map(\.load).min() else { return 1 }
        let share = workload.limit.refillPerSecond * min(1, least * workload.load) / Double(workload.servers)
        let most = min(share / leastShare, Double(workload.limit.capacity) / (leastShare * Double(workload.servers)))
        return max(1, Int(min(most, factor.rounded(.up))))
    }

    /// The world in which a choice of lease settings is tried.
    func settings(seed: UInt64, limiter: LimiterSettings, lease: LeaseSettings) throws(LimitError) -> WorldSettings {
        let limit = try Limit(
            capacity: max(1, workload.limit.capacity / tokens),
            refillPerSecond: (workload.limit.refillPerSecond / Double(tokens) * 1000).rounded() / 1000)
        var settings = WorldSettings(seed: seed, limit: limit, workload: workload.kind)
        settings.servers = workload.servers
        settings.keys = population.groups.count
        settings.population = population
        settings.load = workload.load
        settings.durationMilliseconds = durationMilliseconds
        // A way takes from a fifth to four fifths of a round trip, and half of one on average.
        let trip = workload.roundTripMilliseconds * 1000
        settings.latencyMicroseconds = max(1, Int64(trip / 5))...max(1, Int64(trip * 4 / 5))
        settings.limiter = limiter
        settings.limiter.lease = lease
        return settings
    }

    /// What was simulated, and for what it stands.
    var sentence: String {
        let groups = population.groups.count
        let organizations = "\(groups) organization\(groups == 1 ? "" : "s")"
        var parts = ["\(durationMilliseconds / 1000) s of \(organizations) at \(workload.servers) servers"]
        if groups < workload.organizations { parts.append("which stand for \(workload.organizations)") }
        if tokens > 1 { parts.append("one token for \(tokens)") }
        if population.limited > 0 {
            parts.append(
                "with nobody asked for more than \(Int(highestLoad)) times the refill (\(population.limited) would be)"
            )
        }
        return "simulated for each choice: " + parts.joined(separator: ", ")
    }
}
