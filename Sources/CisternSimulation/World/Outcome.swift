internal import Cistern

/// What a world counts while it runs.
struct Tally {
    /// Requests to the store, probes left out.
    private(set) var storeCalls = 0
    private(set) var requests = 0
    private(set) var unmetered = 0
    private(set) var refused = 0
    /// Tokens that were let through of each organization, counted or not.
    private var given: [Int]
    /// Tokens that the ideal buckets would have given for the same requests.
    private var due: [Int]
    /// When the count ended: everything that fails is over, or the world is.
    private var endedAt: Time?
    /// How long each request waited, in nanoseconds.
    private var waits: [Time] = []
    /// Tokens that were out of reach, at each look.
    private(set) var stranded: [Int] = []
    private var ideal: [TokenBucket]
    private let limit: Limit
    private let settings: WorldSettings
    /// How many organizations each of the waits stands for; empty where each is itself.
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

    /// Tokens let through, all organizations together.
    var givenTokens: Int { represented { given[$0] } }
    /// Tokens that ideal buckets would have given.
    var dueTokens: Int { represented { due[$0] } }
    /// Tokens that ideal buckets would have given and we have not; what one organization got too much makes up for
    /// nothing of another's.
    var lostTokens: Int { represented { max(0, due[$0] - given[$0]) } }

    /// Adds up a number of each organization, as often as the organization stands for one.
    private func represented(_ number: (Int) -> Int) -> Int {
        due.indices.reduce(0) { $0 + settings.count(of: $1) * number($1) }
    }

    mutating func observe(_ observation: Observation, at now: Time) {
        guard endedAt == nil else { return }
        switch observation {
        case .arrived(_, let key, let cost):
            requests += settings.count(of: key)
            ideal[key].refill(limit, nowMilliseconds: now.storeMilliseconds)
            if ideal[key].take(Int64(cost) * Limit.microtokensPerToken) { due[key] += cost }
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

    /// How long requests waited, the shortest first, each with how many requests it stands for.
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

    /// How long it has counted, in seconds, in a world that ended at a time.
    func seconds(until end: Time) -> Double { max(1, endedAt ?? end).seconds }
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
    /// Tokens of requests that were let through, counted or not.
    package let givenTokens: Int
    /// Requests let through uncounted, because the store was out of reach and the failure policy is `open`.
    package let unmetered: Int
    /// Requests turned away with no regard to the limit.
    package let refused: Int
    /// When the world ended, in seconds: early where a promise was broken.
    package let endedAtSeconds: Double
    /// A number made from everything that happened: equal worlds have equal ones.
    package let digest: UInt64
    package let violations: [Violation]

    init(
        settings: WorldSettings, tally: Tally, peakExcessPercent: Double, end: Time, digest: UInt64,
        violations: [Violation]
    ) {
        seed = settings.seed
        policy = settings.policy
        workload = settings.workload
        requests = tally.requests
        storeCalls = tally.storeCalls
        storeCallsPerSecond = Double(tally.storeCalls) / tally.seconds(until: end)
        self.peakExcessPercent = peakExcessPercent
        lostPercent = tally.dueTokens == 0 ? 0 : Double(tally.lostTokens) / Double(tally.dueTokens) * 100
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
