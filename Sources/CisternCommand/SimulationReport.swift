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

    /// The first world that broke a promise.
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
                decimal(outcome.peakExcessPercent, 2), decimal(outcome.lostPercent, 2),
                decimal(outcome.waitP50Milliseconds, 2), decimal(outcome.waitP99Milliseconds, 2),
                decimal(outcome.strandedTokens, 1), "\(outcome.unmetered)", "\(outcome.refused)",
            ])
        }
        return table.text
    }

    /// The results as one JSON object, which the article Simulating describes.
    var json: String {
        let worlds = outcomes.map { outcome in
            """
            {"policy":"\(outcome.policy.rawValue)","workload":"\(outcome.workload.rawValue)",\
            "requests":\(outcome.requests),"storeCalls":\(outcome.storeCalls),\
            "storeCallsPerSecond":\(decimal(outcome.storeCallsPerSecond, 3)),\
            "peakExcessPercent":\(decimal(outcome.peakExcessPercent, 6)),\
            "lostPercent":\(decimal(outcome.lostPercent, 6)),\
            "waitP50Milliseconds":\(decimal(outcome.waitP50Milliseconds, 6)),\
            "waitP99Milliseconds":\(decimal(outcome.waitP99Milliseconds, 6)),\
            "strandedTokens":\(decimal(outcome.strandedTokens, 3)),"givenTokens":\(outcome.givenTokens),\
            "unmetered":\(outcome.unmetered),"refused":\(outcome.refused),\
            "endedAtSeconds":\(decimal(outcome.endedAtSeconds, 3)),"digest":"\(String(outcome.digest, radix: 16))",\
            "violations":[\(outcome.violations.map(\.json).joined(separator: ","))]}
            """
        }
        return #"{"version":1,"seed":\#(seed),"worlds":[\#(worlds.joined(separator: ","))]}"#
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
        let found = broken.map { outcome in
            #"{"seed":\#(outcome.seed),"violations":[\#(outcome.violations.map(\.json).joined(separator: ","))]}"#
        }
        return """
            {"version":1,"firstSeed":\(seeds.lowerBound),"lastSeed":\(seeds.upperBound),"faults":"\(faults.rawValue)",\
            "worlds":\(worlds),"requests":\(requests),"storeCalls":\(storeCalls),\
            "broken":[\(found.joined(separator: ","))]}
            """
    }
}

extension Violation {
    /// The violation as a JSON object; its texts come from the checkers and need no escaping.
    fileprivate var json: String {
        #"{"checker":"\#(checker)","seconds":\#(decimal(time.seconds, 9)),"what":"\#(what)"}"#
    }
}
