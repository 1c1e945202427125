import CisternProcesses
import CisternTesting
import Foundation
import Testing

@testable import Perf

@Suite("Results")
struct ResultTests {
    static let machine = Machine(
        cores: 2, processor: "P", memoryGibibytes: 24, system: "S", redis: "7.0.15", commit: "abc", build: "release")

    static func result(_ kind: String = "tiers", rows: [(String, [Metric: [Double]])]) -> PerfResult {
        var result = PerfResult(kind: kind, settings: ["depth": "1"], machine: machine)
        result.rows = rows.map { name, metrics in
            let count = metrics.values.map(\.count).max() ?? 0
            return PerfResult.Row(
                name: name,
                samples: (0..<count).map { index in
                    PerfResult.Sample(
                        values: metrics.mapValues { $0[index] }, seconds: 1, decisions: 5,
                        percentiles: [50, 99, 100].map { .init(percent: $0, microseconds: $0 * 2) })
                })
        }
        return result
    }

    @Test("results are the same after a round trip through JSON, and carry their version")
    func roundTrip() throws {
        let folder = try TemporaryDirectory()
        let path = "\(folder.path)/a.json"
        let result = Self.result(rows: [
            ("cache, HTTP", [.decisionsPerSecond: [3, 1, 2], .overAdmittedTokens: [0, 0, 0]])
        ])
        try result.write(to: path)
        let read = try PerfResult.read(path)
        #expect(read.rows[0][.decisionsPerSecond] == 2)
        #expect(read.rows[0].samples.map(\.percentiles) == result.rows[0].samples.map(\.percentiles))
        let data = try Data(contentsOf: URL(fileURLWithPath: path))
        let json = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        #expect(json["version"] as? Int == 1)
        let rows = try #require(json["rows"] as? [[String: Any]])
        let samples = try #require(rows[0]["samples"] as? [[String: Any]])
        #expect((samples[0]["values"] as? [String: Double])?["decisionsPerSecond"] == 3)
    }

    @Test("results that cannot be read are named in the error, with the remedy")
    func unreadable() throws {
        let folder = try TemporaryDirectory()
        let path = "\(folder.path)/a.json"
        func message() -> String? { #expect(throws: PerfError.self) { try PerfResult.read(path) }?.description }
        #expect(message()?.hasPrefix("--compare \(path) cannot be read: ") == true)
        try "{}".write(toFile: path, atomically: true, encoding: .utf8)
        #expect(message() == "--compare \(path): not a result of perf; name a file that --json wrote")
        try #"{"version":7}"#.write(toFile: path, atomically: true, encoding: .utf8)
        #expect(message()?.contains("its version is 7, and this perf reads 1") == true)
    }

    @Test("a change counts only if the repetitions of the two runs do not overlap")
    func comparison() throws {
        let old = Self.result(rows: [
            ("a", [.decisionsPerSecond: [100, 110, 105], .p99Microseconds: [5, 6, 7], .deniedPercent: [1, 1, 1]]),
            ("gone", [.failed: [0]]),
        ])
        let new = Self.result(rows: [
            ("a", [.decisionsPerSecond: [120, 129, 125], .p99Microseconds: [7, 8, 9], .deniedPercent: [2, 2, 2]])
        ])
        let comparison = Comparison(old: old, new: new)
        let verdicts = Dictionary(uniqueKeysWithValues: comparison.changes.map { ($0.metric, $0) })
        #expect(verdicts[.decisionsPerSecond]?.verdict == .better)
        #expect(abs((verdicts[.decisionsPerSecond]?.percent ?? 0) - 19.05) < 0.01)
        #expect(verdicts[.p99Microseconds]?.verdict == .withinNoise)
        #expect(verdicts[.deniedPercent]?.verdict == .changed)
        #expect(comparison.unmatched == ["gone"])
        #expect(Comparison.verdict(.p99Microseconds, [1, 2], [3, 4]) == .worse)
        #expect(Comparison.verdict(.p99Microseconds, [1], [3, 4]) == .unknownNoise)
        // The repetitions do not overlap, but the gap is no larger than the spread of each run.
        #expect(Comparison.verdict(.p99Microseconds, [1, 9, 10], [11, 12, 20]) == .withinNoise)
        #expect(comparison.differences.isEmpty)
        let other = PerfResult(kind: "tiers", settings: ["depth": "2"], machine: Self.machine)
        #expect(Comparison(old: old, new: other).differences == ["depth was 1, now 2"])
    }

    @Test("results are shown in aligned columns, with units, beside the reference's figures")
    func table() {
        var result = Self.result(rows: [
            ("reference, library", [.decisionsPerSecond: [9000], .p50Microseconds: [12.34]]),
            ("cache, library", [.decisionsPerSecond: [5_000_000], .p50Microseconds: [0.2]]),
        ])
        result.rows[0].referencePerSecond = 10_000
        result.rows[1].referencePerSecond = 50_000
        let text = TextReport(result, columns: [.decisionsPerSecond, .p50Microseconds, .overAdmittedTokens])
        #expect(
            text.table == """
                TIERS               decisions/s  p50 µs  reference/s  met
                reference, library        9,000    12.3       10,000  no, 90 %
                cache, library        5,000,000     0.2       50,000  yes
                """)
        #expect(text.notes.contains("2 cores of P, 24 GiB, S, Redis 7.0.15, commit abc, release build"))
    }

    @Test("tiers are compared by the ratios of their results")
    func ratios() {
        let result = Self.result(rows: [
            ("reference, library", [.decisionsPerSecond: [10]]), ("cache, library", [.decisionsPerSecond: [300]]),
            ("reference, HTTP", [.decisionsPerSecond: [10]]), ("cache, HTTP", [.decisionsPerSecond: [30]]),
            ("cluster, library", [.decisionsPerSecond: [80]]), (RedisBenchmark.rowName, [.decisionsPerSecond: [100]]),
        ])
        let ratios = TiersCommand.ratios(result)
        #expect(ratios.map(\.value) == [30, 3, 0.8])
        #expect(ratios.map(\.isMet) == [true, false, false])
        let fast = Self.result(rows: [
            ("cluster, library", [.decisionsPerSecond: [120_000]]),
            (RedisBenchmark.rowName, [.decisionsPerSecond: [150_000]]),
        ])
        #expect(TiersCommand.ratios(fast).map(\.isMet) == [nil])
    }

    @Test("wrong or missing counts fail a smoke run, and the error names the count")
    func counts() throws {
        let good = Self.result(rows: [
            ("cache, HTTP", [.storeCallsPerThousand: [5], .overAdmittedTokens: [0], .failed: [0], .unmetered: [0]])
        ])
        try TiersCommand.checkCounts(good)
        let bad = Self.result(rows: [
            (
                "cluster, library",
                [.storeCallsPerThousand: [1000], .overAdmittedTokens: [2], .failed: [0], .unmetered: [0]]
            )
        ])
        let error = #expect(throws: PerfError.self) { try TiersCommand.checkCounts(bad) }
        #expect(error?.description == "cluster, library: over is 2; expected 0 to 0")
        #expect(error?.code == .wrongCount)
        let silent = Self.result(rows: [("cache, HTTP", [.storeCallsPerThousand: [5]])])
        let silence = #expect(throws: PerfError.self) { try TiersCommand.checkCounts(silent) }
        #expect(silence?.description == "cache, HTTP: failed was not measured")
        let engine = Self.result("engine", rows: [("leased", [.allocatedBytes: [0.5]])])
        #expect(throws: PerfError.self) { try EngineCommand.checkCounts(engine) }
    }
}
