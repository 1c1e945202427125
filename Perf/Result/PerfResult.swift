internal import Foundation

/// Everything that one run of `perf` has measured: what `--json` writes and `--compare` reads.
///
/// The README describes it. What is added later is optional; a change of meaning raises ``version``.
struct PerfResult: Codable, Sendable {
    /// The version that this program writes, and the only one that it reads.
    static let currentVersion = 1

    /// One tier, one setting or one mix of organizations and threads.
    struct Row: Codable, Sendable {
        let name: String
        /// What the row was run with, beyond what all rows were.
        var settings: [String: String] = [:]
        /// Decisions a second that the reference architecture states for this tier; nil where it states none.
        var referencePerSecond: Double?
        /// One for each repetition.
        var samples: [Sample]

        /// The medians of the repetitions; what was measured in none is left out.
        subscript(metric: Metric) -> Double? {
            let values = samples.compactMap { $0.values[metric] }.sorted()
            guard !values.isEmpty else { return nil }
            let upper = values[values.count / 2]
            return values.count % 2 == 1 ? upper : (values[values.count / 2 - 1] + upper) / 2
        }
    }

    /// One repetition.
    struct Sample: Codable, Sendable {
        var values: [Metric: Double] = [:]
        /// Seconds that counted.
        var seconds = 0.0
        /// Decisions that counted.
        var decisions = 0
        /// The whole distribution of latencies; none where no latency was measured.
        var percentiles: [Percentile] = []
        /// A closed loop's without the correction for requests that were not sent in time; see the README.
        var uncorrectedPercentiles: [Percentile] = []
    }

    struct Percentile: Codable, Sendable, Equatable {
        let percent: Double
        let microseconds: Double
    }

    /// Two rows of the same run set against each other.
    struct Ratio: Codable, Sendable {
        let what: String
        let value: Double
        /// What it should be at least; nil where it may be anything.
        var wanted: Double?

        /// Whether it is that; nil where nothing is wanted.
        var isMet: Bool? { wanted.map { value >= $0 } }
    }

    var version = PerfResult.currentVersion
    /// The subcommand: tiers, engine, http or leases.
    let kind: String
    /// The command's arguments.
    let arguments: [String]
    /// ISO 8601, UTC.
    let startedAt: String
    let machine: Machine
    /// What all rows were run with.
    let settings: [String: String]
    var rows: [Row] = []
    var ratios: [Ratio] = []

    init(kind: String, settings: [String: String], machine: Machine) {
        self.kind = kind
        arguments = Array(CommandLine.arguments.dropFirst())
        startedAt = Date.now.formatted(.iso8601)
        self.machine = machine
        self.settings = settings
    }

    // MARK: Files

    /// Writes the result as JSON.
    func write(to path: String) throws(PerfError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        do {
            try encoder.encode(self).write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            throw PerfError("--json \(path) cannot be written: \(readable(error))", .unavailable)
        }
    }

    /// Reads a result that an earlier run has written.
    static func read(_ path: String) throws(PerfError) -> PerfResult {
        let data: Data
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: path))
        } catch {
            throw PerfError("--compare \(path) cannot be read: \(readable(error))", .usage)
        }
        struct Head: Decodable {
            let version: Int
        }
        let decoder = JSONDecoder()
        guard let head = try? decoder.decode(Head.self, from: data) else {
            throw PerfError("--compare \(path): this is no result of perf; name a file that --json wrote", .usage)
        }
        guard head.version == currentVersion else {
            throw PerfError(
                "--compare \(path): its version is \(head.version), and this perf reads \(currentVersion); "
                    + "measure anew with the older code", .usage)
        }
        do {
            return try decoder.decode(PerfResult.self, from: data)
        } catch {
            throw PerfError("--compare \(path): this is no result of perf: \(error)", .usage)
        }
    }
}

/// What Foundation says of an error, in one line.
func readable(_ error: any Error) -> String {
    (error as NSError).localizedDescription
}
