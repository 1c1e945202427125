internal import Cistern
internal import CisternServer
internal import CisternSimulation

/// Scales a workload down so that it can be simulated many times, and scales the resulting figures back up.
///
/// Three quantities may be scaled, each only where this does not change the results:
/// - Organizations: they are independent of each other, so a few represent many.
/// - Offered load: it is capped at 8 × refill, or at 4 × refill if the work would be too much. Requests beyond the cap
///   are denied from memory.
/// - Tokens: if every server spends hundreds of tokens a second of each organization, one token represents several.
///   This changes neither the store calls, which depend on time, nor the loss, which is a percentage.
struct TuneScale: Sendable {
    let population: Population
    /// How many tokens one simulated token represents.
    let tokens: Int
    let durationMilliseconds: Int64
    /// The cost of simulating one choice, in units of one request.
    let work: Double
    private let workload: TuneWorkload

    /// The cap on an organization's offered load, in multiples of its refill.
    private let highestLoad: Double

    /// The usual value of `highestLoad`; half of it applies if the simulation would cost too much.
    private static let loadCap = 8.0
    /// The maximum number of simulated organizations.
    static let maximumGroups = 256
    /// The target and the hard limit for the cost of one choice, in requests.
    ///
    /// A request takes about 1.5 µs, and there are up to a hundred choices.
    static let targetWork = 200_000.0
    static let maximumWork = 4_000_000.0
    /// Minimum tokens a second per server and organization for one token to represent several.
    private static let minimumTokensPerServer = 100.0

    init(_ workload: TuneWorkload, durationMilliseconds given: Int64?) throws(FlagError) {
        let shortest = given ?? Self.shortestDuration(workload)
        var scale = TuneScale(workload, highestLoad: Self.loadCap, shortest: shortest, isGiven: given != nil)
        if scale.work > Self.targetWork * 2 {
            // Half the load cap, and half the default time.
            let half = given == nil && shortest == 10_000 ? 5000 : shortest
            scale = TuneScale(workload, highestLoad: Self.loadCap / 2, shortest: half, isGiven: given != nil)
        }
        guard scale.work <= Self.maximumWork else {
            throw FlagError(
                "the workload is too large to simulate a hundred times: use a lower --refill with a "
                    + "proportionally lower --capacity, a lower --load, fewer --servers or a shorter --duration")
        }
        self = scale
    }

    private init(_ workload: TuneWorkload, highestLoad: Double, shortest: Int64, isGiven: Bool) {
        self.workload = workload
        self.highestLoad = highestLoad
        // With skew, busy, average and quiet organizations must all be represented.
        let fewest = min(workload.organizations, workload.skew > 0 ? 8 : workload.kind == .flash ? 2 : 1)
        let affordable = Self.targetWork * 1000 / Double(shortest)
        let populate = { (groups: Int) in
            Population(
                keys: workload.organizations, exponent: workload.skew, groups: groups,
                most: highestLoad / workload.load)
        }
        var count = min(workload.organizations, Self.maximumGroups)
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
        durationMilliseconds = isGiven ? shortest : max(shortest, min(60_000, Int64(Self.targetWork / work / 5) * 5000))
        self.work = work * Double(durationMilliseconds) / 1000
    }

    /// Ten seconds, or three times as long as buckets take to run dry, up to a minute.
    private static func shortestDuration(_ workload: TuneWorkload) -> Int64 {
        guard workload.load > 1 else { return 10_000 }
        let dry = Double(workload.limit.capacity) / (workload.limit.refillPerSecond * (workload.load - 1))
        return Int64(min(12, max(2, (dry * 3 / 5).rounded(.up)))) * 5000
    }

    /// The cost of a simulated second, in units of one request; a store call's cost grows with the number of servers.
    private static func work(_ workload: TuneWorkload, _ population: Population, tokens: Int) -> Double {
        let servers = Double(workload.servers)
        let refill = workload.limit.refillPerSecond / Double(tokens)
        let requests = population.groups.reduce(0) { $0 + $1.load * workload.load * refill }
        let calls = population.groups.reduce(0) { $0 + min($1.load * workload.load * refill, servers * 10) }
        return requests + calls * (20 + 2 * servers) + servers * 50
    }

    private static func tokens(_ workload: TuneWorkload, _ population: Population, factor: Double) -> Int {
        // Requests that cost several tokens would get fractional costs.
        guard workload.kind.highestCost == 1, let least = population.groups.map(\.load).min() else { return 1 }
        let share = workload.limit.refillPerSecond * min(1, least * workload.load) / Double(workload.servers)
        let most = min(
            share / minimumTokensPerServer,
            Double(workload.limit.capacity) / (minimumTokensPerServer * Double(workload.servers)))
        return max(1, Int(min(most, factor.rounded(.up))))
    }

    /// The settings of the world that simulates a choice of lease settings.
    func settings(seed: UInt64, limiter: LimiterSettings, lease: LeaseSettings) throws(LimitError) -> WorldSettings {
        let limit = try Limit(
            capacity: max(1, workload.limit.capacity / tokens),
            refillPerSecond: workload.limit.refillPerSecond / Double(tokens))
        var settings = WorldSettings(seed: seed, limit: limit, workload: workload.kind)
        settings.servers = workload.servers
        settings.keys = population.groups.count
        settings.population = population
        settings.load = workload.load
        settings.durationMilliseconds = durationMilliseconds
        // One-way latency is 1/5 to 4/5 of a round trip, on average half of it.
        let trip = workload.roundTripMilliseconds * 1000
        settings.latencyMicroseconds = max(1, Int64(trip / 5))...max(1, Int64(trip * 4 / 5))
        settings.limiter = limiter
        settings.limiter.lease = lease
        return settings
    }

    /// Describes what was simulated, and how it was scaled.
    var sentence: String {
        let groups = population.groups.count
        let organizations = "\(groups) organization\(groups == 1 ? "" : "s")"
        var parts = ["\(durationMilliseconds / 1000) s of \(organizations) at \(workload.servers) servers"]
        if groups < workload.organizations { parts.append("representing \(workload.organizations)") }
        if tokens > 1 { parts.append("one token representing \(tokens)") }
        if population.limited > 0 {
            parts.append(
                "offered load capped at \(Int(highestLoad)) × refill (\(population.limited) organizations affected)"
            )
        }
        return "simulated for each choice: " + parts.joined(separator: ", ")
    }
}
