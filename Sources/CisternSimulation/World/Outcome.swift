internal import Cistern

/// What a world counts while it runs.
struct Tally {
    /// Requests to the store, probes left out.
    var storeCalls = 0
    private(set) var requests = 0
    private(set) var admittedTokens = 0
    private(set) var unmetered = 0
    private(set) var refused = 0
    /// Tokens that the ideal buckets would have given for the same requests.
    private(set) var idealTokens = 0
    /// How long each request waited, in nanoseconds.
    private(set) var waits: [Time] = []
    /// Tokens that were out of reach, at each look.
    var stranded: [Int] = []
    private var ideal: [TokenBucket]
    private let limit: Limit

    init(_ settings: WorldSettings) {
        limit = settings.limit
        ideal = Array(
            repeating: TokenBucket(full: settings.limit, nowMilliseconds: Time(0).storeMilliseconds),
            count: settings.organizations)
    }

    mutating func observe(_ observation: Observation, at now: Time) {
        switch observation {
        case .arrived(_, let organization, let cost):
            requests += 1
            ideal[organization].refill(limit, nowMilliseconds: now.storeMilliseconds)
            if ideal[organization].take(Int64(cost) * Limit.microtokensPerToken) { idealTokens += cost }
        case .decided(let decided):
            waits.append(now - decided.arrivedAt)
            switch decided.decision.outcome {
            case .allowed: admittedTokens += decided.cost
            case .unmetered: unmetered += 1
            case .refused: refused += 1
            case .denied: break
            }
        default: break
        }
    }
}

/// How a world came out.
package struct Outcome: Sendable {
    package let seed: UInt64
    package let policy: Policy
    package let workload: WorkloadKind
    package let requests: Int
    /// Requests to the store a second.
    package let storeCallsPerSecond: Double
    package let storeCalls: Int
    /// How far above C + R·t the servers' admissions came, in percent of the capacity.
    package let peakExcessPercent: Double
    /// What an ideal bucket would have given and was not given, in percent of the former.
    package let lostPercent: Double
    /// How long requests waited for the store, in milliseconds.
    package let waitP50Milliseconds: Double
    package let waitP99Milliseconds: Double
    /// Tokens held by servers that had no request for them within a horizon, or on record for servers that are no more:
    /// the mean over time.
    package let strandedTokens: Double
    package let admittedTokens: Int
    package let unmetered: Int
    package let refused: Int
    package let violations: [Violation]

    init(settings: WorldSettings, tally: Tally, peakExcessPercent: Double, violations: [Violation]) {
        seed = settings.seed
        policy = settings.policy
        workload = settings.workload
        requests = tally.requests
        storeCalls = tally.storeCalls
        let duration = Double(settings.durationMilliseconds + settings.recoveryMilliseconds) / 1000
        storeCallsPerSecond = Double(tally.storeCalls) / duration
        self.peakExcessPercent = peakExcessPercent
        lostPercent =
            tally.idealTokens == 0
            ? 0 : max(0, Double(tally.idealTokens - tally.admittedTokens) / Double(tally.idealTokens) * 100)
        let waits = tally.waits.sorted()
        waitP50Milliseconds = Self.quantile(waits, 50)
        waitP99Milliseconds = Self.quantile(waits, 99)
        strandedTokens =
            tally.stranded.isEmpty
            ? 0 : Double(tally.stranded.reduce(0, +)) / Double(tally.stranded.count)
        admittedTokens = tally.admittedTokens
        unmetered = tally.unmetered
        refused = tally.refused
        self.violations = violations
    }

    private static func quantile(_ sorted: [Time], _ percent: Int) -> Double {
        guard !sorted.isEmpty else { return 0 }
        let rank = max(1, (sorted.count * percent + 99) / 100)
        return Double(sorted[rank - 1]) / 1e6
    }
}
