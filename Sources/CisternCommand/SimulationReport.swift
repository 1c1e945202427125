internal import Cistern
internal import CisternReport
internal import CisternServer
internal import CisternSimulation
internal import Foundation

/// The results of the worlds of one seed, with a row for each limiter.
struct SimulationReport {
    private let seed: UInt64
    private var outcomes: [Outcome] = []

    init(seed: UInt64) {
        self.seed = seed
    }

    mutating func add(_ outcome: Outcome) {
        outcomes.append(outcome)
    }

    /// The first world that violated an invariant.
    var broken: Outcome? { outcomes.first { !$0.violations.isEmpty } }

    private static let columns = [
        "policy", "requests", "store calls/s", "peak over %", "lost %", "wait p50 ms", "wait p99 ms", "stranded",
        "unmetered", "refused",
    ]

    var table: String {
        var table = TextTable(Self.columns, texts: ["policy"])
        for outcome in outcomes {
            table.add([
                outcome.policy.rawValue, "\(outcome.requests)", decimal(outcome.storeCallsPerSecond, 1),
                decimal(outcome.peakOverAdmissionPercent, 2), decimal(outcome.underAdmissionPercent, 2),
                decimal(outcome.waitP50Milliseconds, 2), decimal(outcome.waitP99Milliseconds, 2),
                decimal(outcome.strandedTokens, 1), "\(outcome.unmetered)", "\(outcome.refused)",
            ])
        }
        return table.text
    }

    /// The results as one JSON object, which the article Simulating describes.
    var json: String {
        get throws {
            try InspectionOptions.json(Document(version: 1, seed: seed, worlds: outcomes.map { Document.World($0) }))
        }
    }

    private struct Document: Encodable {
        struct World: Encodable {
            let policy: String
            let workload: String
            let requests: Int
            let storeCalls: Int
            let storeCallsPerSecond: Double
            let peakOverAdmissionPercent: Double
            let underAdmissionPercent: Double
            let waitP50Milliseconds: Double
            let waitP99Milliseconds: Double
            let strandedTokens: Double
            let givenTokens: Int
            let unmetered: Int
            let refused: Int
            let endedAtSeconds: Double
            let digest: String
            let violations: [ViolationDocument]

            init(_ outcome: Outcome) {
                let rounded = { (value: Double) in (value * 1_000_000).rounded() / 1_000_000 }
                policy = outcome.policy.rawValue
                workload = outcome.workload.rawValue
                requests = outcome.requests
                storeCalls = outcome.storeCalls
                storeCallsPerSecond = rounded(outcome.storeCallsPerSecond)
                peakOverAdmissionPercent = rounded(outcome.peakOverAdmissionPercent)
                underAdmissionPercent = rounded(outcome.underAdmissionPercent)
                waitP50Milliseconds = rounded(outcome.waitP50Milliseconds)
                waitP99Milliseconds = rounded(outcome.waitP99Milliseconds)
                strandedTokens = rounded(outcome.strandedTokens)
                givenTokens = outcome.givenTokens
                unmetered = outcome.unmetered
                refused = outcome.refused
                endedAtSeconds = rounded(outcome.endedAtSeconds)
                digest = String(outcome.digest, radix: 16)
                violations = outcome.violations.map { ViolationDocument($0) }
            }
        }

        let version: Int
        let seed: UInt64
        let worlds: [World]
    }
}

/// A violation in JSON.
struct ViolationDocument: Encodable {
    let checker: String
    let seconds: Double
    let what: String

    init(_ violation: Violation) {
        checker = "\(violation.checker)"
        seconds = violation.time.seconds
        what = violation.what
    }
}

/// The results of a sweep over many small worlds.
struct SweepSummary {
    private let seeds: ClosedRange<UInt64>
    private let faults: FaultKind
    private var worlds = 0
    private var requests = 0
    private var storeCalls = 0
    private(set) var broken: [Outcome] = []

    init(seeds: ClosedRange<UInt64>, faults: FaultKind) {
        self.seeds = seeds
        self.faults = faults
    }

    mutating func add(_ outcome: Outcome) {
        worlds += 1
        requests += outcome.requests
        storeCalls += outcome.storeCalls
        if !outcome.violations.isEmpty { broken.append(outcome) }
    }

    var text: String {
        var lines = [
            "\(worlds) worlds, \(requests) requests, \(storeCalls) store calls: \(broken.count) with a broken promise"
        ]
        for outcome in broken.prefix(20) {
            guard let violation = outcome.violations.first else { continue }
            lines.append("seed \(outcome.seed): \(violation.checker): \(violation.what)")
        }
        if broken.count > 20 { lines.append("and \(broken.count - 20) more") }
        return lines.joined(separator: "\n")
    }

    var json: String {
        get throws {
            try InspectionOptions.json(
                Document(
                    version: 1, firstSeed: seeds.lowerBound, lastSeed: seeds.upperBound, faults: faults.rawValue,
                    worlds: worlds, requests: requests, storeCalls: storeCalls,
                    broken: broken.map {
                        Document.Broken(seed: $0.seed, violations: $0.violations.map { ViolationDocument($0) })
                    }))
        }
    }

    private struct Document: Encodable {
        struct Broken: Encodable {
            let seed: UInt64
            let violations: [ViolationDocument]
        }

        let version: Int
        let firstSeed: UInt64
        let lastSeed: UInt64
        let faults: String
        let worlds: Int
        let requests: Int
        let storeCalls: Int
        let broken: [Broken]
    }
}
