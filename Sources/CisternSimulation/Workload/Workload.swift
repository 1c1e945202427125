internal import CisternSupport

/// The distribution of requests over servers, keys and time.
package enum WorkloadKind: String, Sendable, CaseIterable {
    /// The same load on every server and key; twice the buckets' refill.
    case even
    /// A few servers and keys have most of the load (Zipf, exponent 1); twice the buckets' refill.
    case skewed
    /// A fifth of the buckets' refill, and four times their refill for one second in five.
    case bursty
    /// All load on one server at a time, and on the next one every five seconds; twice the buckets' refill.
    case moving
    /// A fifth of the buckets' refill; for two seconds in five, one key also gets ten times its bucket's refill.
    case flash
    /// Half of the buckets' refill, for any refill rate.
    case slow
    /// Requests that cost 1 to 20 tokens; twice the buckets' refill.
    case mixed

    /// The average load, in multiples of the buckets' refill.
    package var standardLoad: Double {
        switch self {
        case .even, .skewed, .moving, .mixed: 2
        case .bursty, .flash: 1
        case .slow: 0.5
        }
    }

    /// Whether the load changes over time.
    package var changes: Bool { self == .bursty || self == .moving || self == .flash }

    /// The maximum cost of a request.
    ///
    /// All costs from 1 to this number of tokens are equally likely.
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
    /// The refill of one key's bucket, in tokens per second.
    private let refillPerSecond: Double
    private let load: Double
    private let serverCount: Int
    private let keyWeights: [Double]
    /// The total load of the simulated keys, in multiples of the average load of a key.
    private let totalLoad: Double
    private let serverWeights: [Double]
    /// The period of workloads that change over time.
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

    /// The load of all keys together, in tokens per second.
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
        // Thinning: draw at an upper bound of the rate, and keep each draw with the probability rate / bound.
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
