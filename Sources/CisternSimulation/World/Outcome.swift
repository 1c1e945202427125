internal import Cistern

/// The counters of a world while it runs.
struct Tally {
    /// Requests to the store, without probes.
    private(set) var storeCalls = 0
    private(set) var requests = 0
    private(set) var unmetered = 0
    private(set) var refused = 0
    /// Tokens admitted for each key, metered or not.
    private var given: [Int]
    /// Tokens that ideal buckets would have admitted for the same requests, by key.
    private var due: [Int]
    /// When counting stopped because recovery began; nil if it continues to the end of the world.
    private var endedAt: Time?
    /// How long each request waited, in nanoseconds.
    private var waits: [Time] = []
    /// Stranded tokens, at each sample.
    private(set) var stranded: [Int] = []
    private var ideal: [TokenBucket]
    private let limit: Limit
    private let settings: WorldSettings
    /// For each wait, how many keys its simulated key represents; empty if every key represents only itself.
    private var waitCounts: [Int] = []

    init(_ settings: WorldSettings) {
        self.settings = settings
        limit = settings.limit
        given = Array(repeating: 0, count: settings.keys)
        due = given
        ideal = Array(
            repeating: TokenBucket(full: settings.limit, nowMilliseconds: Time(0).storeMilliseconds),
            count: settings.keys)
    }

    /// Tokens admitted, summed over all keys.
    var givenTokens: Int { represented { given[$0] } }
    /// Tokens that ideal buckets would have admitted, summed over all keys.
    var dueTokens: Int { represented { due[$0] } }
    /// Under-admission: tokens that ideal buckets would have admitted and the servers did not.
    ///
    /// Over-admission of one key does not offset the under-admission of another.
    var underAdmittedTokens: Int { represented { max(0, due[$0] - given[$0]) } }

    /// Sums a number over all keys, weighted by how many keys each of them represents.
    private func represented(_ number: (Int) -> Int) -> Int {
        due.indices.reduce(0) { $0 + settings.count(of: $1) * number($1) }
    }

    mutating func observe(_ observation: Observation, at now: Time) {
        guard endedAt == nil else { return }
        switch observation {
        case .arrived(_, let key, let cost):
            requests += settings.count(of: key)
            ideal[key].refill(limit, nowMilliseconds: now.storeMilliseconds)
            if ideal[key].take(limit.units(of: cost)) { due[key] += cost }
        case .decided(let decided):
            waits.append(now - decided.arrivedAt)
            if settings.population != nil { waitCounts.append(settings.count(of: decided.key)) }
            if decided.decision.isAllowed { given[decided.key] += decided.cost }
            switch decided.decision.outcome {
            case .unmetered: unmetered += 1
            case .refused: refused += 1
            case .allowed, .denied: break
            }
        case .recovering: endedAt = now
        default: break
        }
    }

    /// The waits in ascending order, each with the number of requests that it represents.
    var sortedWaits: [(wait: Time, count: Int)] {
        guard !waitCounts.isEmpty else { return waits.sorted().map { ($0, 1) } }
        return zip(waits, waitCounts).map { ($0, $1) }.sorted { $0.wait < $1.wait }
    }

    mutating func called(for key: Int) {
        if endedAt == nil { storeCalls += settings.count(of: key) }
    }

    mutating func sampled(stranded tokens: Int) {
        if endedAt == nil { stranded.append(tokens) }
    }

    /// The time counted in a world that ended at `end`, in seconds.
    func seconds(until end: Time) -> Double { max(1, endedAt ?? end).seconds }
}

/// The result of a world.
package struct Outcome: Sendable {
    package let seed: UInt64
    package let policy: Policy
    package let workload: WorkloadKind
    package let requests: Int
    /// Requests to the store per second.
    package let storeCallsPerSecond: Double
    package let storeCalls: Int
    /// The peak over-admission: how far admissions exceeded capacity plus refill, in percent of the capacity.
    package let peakOverAdmissionPercent: Double
    /// The under-admission, in percent of the tokens that ideal buckets would have admitted.
    package let underAdmissionPercent: Double
    /// How long requests waited for the store, in milliseconds: the median and the 99th percentile.
    package let waitP50Milliseconds: Double
    package let waitP99Milliseconds: Double
    /// Stranded tokens, averaged over time.
    ///
    /// A lease is stranded if its server had no request for the key within a horizon, or no longer runs.
    package let strandedTokens: Double
    /// Tokens of admitted requests, metered or not.
    package let givenTokens: Int
    /// Requests admitted unmetered, because the store was unreachable and the failure policy is `open`.
    package let unmetered: Int
    /// Requests refused for a reason other than the limit.
    package let refused: Int
    /// When the world ended, in seconds; earlier than planned after a violation.
    package let endedAtSeconds: Double
    /// A hash of all observations.
    ///
    /// Equal worlds have equal digests.
    package let digest: UInt64
    package let violations: [Violation]

    init(
        settings: WorldSettings, tally: Tally, peakOverAdmissionPercent: Double, end: Time, digest: UInt64,
        violations: [Violation]
    ) {
        seed = settings.seed
        policy = settings.policy
        workload = settings.workload
        requests = tally.requests
        storeCalls = tally.storeCalls
        storeCallsPerSecond = Double(tally.storeCalls) / tally.seconds(until: end)
        self.peakOverAdmissionPercent = peakOverAdmissionPercent
        underAdmissionPercent =
            tally.dueTokens == 0 ? 0 : Double(tally.underAdmittedTokens) / Double(tally.dueTokens) * 100
        let waits = tally.sortedWaits
        waitP50Milliseconds = Self.quantile(waits, 50)
        waitP99Milliseconds = Self.quantile(waits, 99)
        strandedTokens =
            tally.stranded.isEmpty
            ? 0 : Double(tally.stranded.reduce(0, +)) / Double(tally.stranded.count)
        givenTokens = tally.givenTokens
        endedAtSeconds = end.seconds
        self.digest = digest
        unmetered = tally.unmetered
        refused = tally.refused
        self.violations = violations
    }

    private static func quantile(_ sorted: [(wait: Time, count: Int)], _ percent: Int) -> Double {
        let total = sorted.reduce(0) { $0 + $1.count }
        let rank = max(1, (total * percent + 99) / 100)
        var passed = 0
        for (wait, count) in sorted {
            passed += count
            if passed >= rank { return Double(wait) / 1e6 }
        }
        return 0
    }
}
