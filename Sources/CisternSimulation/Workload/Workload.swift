internal import CisternSupport

/// Which requests come to which server, and when.
package enum WorkloadKind: String, Sendable, CaseIterable {
    /// Every server and organization alike, at twice what the buckets refill.
    case even
    /// Few servers and organizations have most of the load (Zipf, exponent 1); twice what the buckets refill.
    case skewed
    /// A fifth of what the buckets refill, and for one second in every five four times as much as they do.
    case bursty
    /// All load on one server, which changes every five seconds; twice what the buckets refill.
    case moving
    /// A fifth of what the buckets refill; for two seconds in every five one organization gets ten times what its bucket
    /// does.
    case flash
    /// Organizations with half of what their buckets refill, whatever that is.
    case slow
    /// Requests of 1 to 20 tokens; twice what the buckets refill.
    case mixed

    /// The load over time, in multiples of what the buckets refill.
    package var standardLoad: Double {
        switch self {
        case .even, .skewed, .moving, .mixed: 2
        case .bursty, .flash: 1
        case .slow: 0.5
        }
    }

    /// Whether what comes in changes over time.
    package var changes: Bool { self == .bursty || self == .moving || self == .flash }

    /// Requests cost from 1 to this many tokens, each as often.
    package var highestCost: Int { self == .mixed ? 20 : 1 }
}

/// One request as it comes in.
struct Arrival {
    var time: Time
    var server: Int
    var key: Int
    var cost: Int
}

/// A stream of requests: a Poisson process whose rate changes over time.
struct Workload {
    private let kind: WorkloadKind
    /// Tokens a second that one organization's bucket gains.
    private let refillPerSecond: Double
    private let load: Double
    private let serverCount: Int
    private let keyWeights: [Double]
    /// What all organizations together are asked for, in multiples of what one is on average.
    private let totalLoad: Double
    private let serverWeights: [Double]
    /// How long it takes for what changes over time to come round again.
    private let period: Time
    private var random: SeededRandom

    init(
        _ kind: WorkloadKind, load: Double, refillPerSecond: Double, servers: Int, keys: Int,
        population: Population?, period: Time, random: SeededRandom
    ) {
        self.kind = kind
        self.period = period
        self.load = load
        self.refillPerSecond = refillPerSecond
        serverCount = servers
        let zipf = { (count: Int) in (1...count).map { 1 / Double($0) } }
        let equal = { (count: Int) in Array(repeating: 1.0, count: count) }
        keyWeights =
            population?.groups.map(\.load) ?? (kind == .skewed ? zipf(keys) : equal(keys))
        totalLoad = population?.totalLoad ?? Double(keys)
        serverWeights = kind == .skewed ? zipf(servers) : equal(servers)
        self.random = random
    }

    private static let flashFactor = 10.0

    /// Tokens a second that all organizations together are asked for.
    private func rate(at time: Time) -> Double {
        let all = refillPerSecond * totalLoad * load
        switch kind {
        case .even, .skewed, .moving, .mixed, .slow: return all
        case .bursty: return all * (isBurst(time) ? 4 : 0.2)
        case .flash: return all * 0.2 + (isFlash(time) ? refillPerSecond * load * Self.flashFactor : 0)
        }
    }

    private func isBurst(_ time: Time) -> Bool {
        let phase = time % period * 5 / period
        return phase == 2
    }

    private func isFlash(_ time: Time) -> Bool {
        let phase = time % period * 5 / period
        return phase == 1 || phase == 2
    }

    /// The next request after a moment.
    mutating func next(after time: Time) -> Arrival {
        var time = time
        let costs = Double(1 + kind.highestCost) / 2
        // Thinning: draw at a rate that is never exceeded, and keep a draw as often as the true rate is of that.
        let highest = refillPerSecond * load * (totalLoad * 4 + Self.flashFactor) / costs
        while true {
            let gap = -logarithm(1 - random.fraction()) / highest
            time += max(1, Time(gap * 1e9))
            let kept = rate(at: time) / costs / highest
            if random.chance(kept) { break }
        }
        return Arrival(
            time: time, server: server(at: time), key: key(at: time),
            cost: random.number(1...kind.highestCost))
    }

    private mutating func server(at time: Time) -> Int {
        guard kind == .moving else { return random.index(weights: serverWeights) }
        return Int(time / period) % serverCount
    }

    private mutating func key(at time: Time) -> Int {
        if kind == .flash, isFlash(time) {
            let hot = Self.flashFactor / (Self.flashFactor + 0.2 * totalLoad)
            if random.chance(hot) { return 0 }
        }
        return random.index(weights: keyWeights)
    }
}
