internal import Foundation

/// The result of one run of `perf`, as `--json` writes it and `--compare` reads it.
///
/// The article Measuring describes the format. New fields are optional; a change of meaning raises ``version``.
struct PerfResult: Codable, Sendable {
    /// The version that this program writes, and the only one that it reads.
    static let currentVersion = 1

    /// One tier, one choice of settings, or one mix of organizations and threads.
    struct Row: Codable, Sendable {
        let name: String
        /// The settings of this row, in addition to those of all rows.
        var settings: [String: String] = [:]
        /// Decisions per second that the architecture replaced by Cistern states for this tier; nil if it states none.
        var referencePerSecond: Double?
        /// One for each repetition.
        var samples: [Sample]

        /// The median of a metric over the repetitions; nil if no repetition measured it.
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
        /// The length of the measurement in seconds.
        var seconds = 0.0
        /// The number of decisions counted.
        var decisions = 0
        /// Percentiles of the latency; empty if no latency was measured.
        var percentiles: [Percentile] = []
        /// Percentiles of a closed loop without the correction for coordinated omission; see the article Measuring.
        var uncorrectedPercentiles: [Percentile] = []
    }

    struct Percentile: Codable, Sendable, Equatable {
        let percent: Double
        let microseconds: Double
    }

    /// The ratio of two rows of the same run.
    struct Ratio: Codable, Sendable {
        let what: String
        let value: Double
        /// The required minimum; nil if there is none.
        var wanted: Double?

        /// Whether the ratio reaches the minimum; nil if there is none.
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
    /// The settings of all rows.
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

    /// Reads the result of an earlier run.
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
            throw PerfError("--compare \(path): not a result of perf; name a file that --json wrote", .usage)
        }
        guard head.version == currentVersion else {
            throw PerfError(
                "--compare \(path): its version is \(head.version), and this perf reads \(currentVersion); "
                    + "measure the older code again", .usage)
        }
        do {
            return try decoder.decode(PerfResult.self, from: data)
        } catch {
            throw PerfError("--compare \(path): not a result of perf: \(error)", .usage)
        }
    }
}

/// Foundation's description of an error, in one line.
func readable(_ error: any Error) -> String {
    (error as NSError).localizedDescription
}
