internal import ArgumentParser
internal import Cistern
internal import CisternServer
internal import Foundation

/// The flags that every benchmark has.
struct RunOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Length of each measurement, such as 4s or 500ms.", valueName: "time"))
    var duration: String?
    @Option(
        name: .customLong("repeat"), help: ArgumentHelp("Repetitions of each row, 1 to 100.", valueName: "count")
    )
    var repetitions: String?
    @Flag(help: "Run for a few seconds in all, show only counts, and fail if one is wrong.")
    var smoke = false
    @Option(help: ArgumentHelp("Write all measurements to a JSON file.", valueName: "file")) var json: String?
    @Option(help: ArgumentHelp("Write a self-contained page with plots.", valueName: "file.html")) var report: String?
    @Option(help: ArgumentHelp("Show the changes since a result that --json wrote.", valueName: "old.json"))
    var compare: String?

    /// The values of the flags, checked.
    struct Checked {
        var seconds: Double
        var repetitions: Int
        var old: PerfResult?
    }

    /// Checks the flags before anything is started.
    ///
    /// - Parameters:
    ///   - kind: the benchmark's name.
    ///   - standard: the defaults.
    func checked(_ kind: String, standard: Checked) throws(PerfError) -> Checked {
        var checked = standard
        if let duration {
            guard let milliseconds = Duration.wholeMilliseconds(in: duration), 10...3_600_000 ~= milliseconds else {
                throw PerfError("--duration is '\(duration)': use a time from 10ms to 1h, such as 4s", .usage)
            }
            checked.seconds = Double(milliseconds) / 1000
        }
        if let repetitions {
            checked.repetitions = try Self.integer("repeat", repetitions, in: 1...100)
        }
        for (flag, path) in [("json", json), ("report", report)] {
            guard let path else { continue }
            var isFolder: ObjCBool = false
            guard !FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) || !isFolder.boolValue else {
                throw PerfError("--\(flag) is '\(path)': that is a folder; name a file", .usage)
            }
            let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
            guard FileManager.default.isWritableFile(atPath: folder) else {
                throw PerfError("--\(flag) is '\(path)': \(folder) is not a writable folder", .usage)
            }
        }
        if smoke {
            checked.seconds = min(checked.seconds, duration == nil ? 1 : checked.seconds)
            checked.repetitions = repetitions == nil ? 1 : checked.repetitions
        }
        if let compare {
            let old = try PerfResult.read(compare)
            guard old.kind == kind else {
                throw PerfError(
                    "--compare \(compare): that is a result of 'perf \(old.kind)', and this is 'perf \(kind)'; "
                        + "compare like with like", .usage)
            }
            checked.old = old
        }
        return checked
    }

    static func integer(_ flag: String, _ text: String, in range: ClosedRange<Int>) throws(PerfError) -> Int {
        guard let number = Int(text), range ~= number else {
            throw PerfError(
                "--\(flag) is '\(text)': use a whole number from \(range.lowerBound) to \(range.upperBound)", .usage)
        }
        return number
    }

    static func number(_ flag: String, _ text: String, in range: ClosedRange<Double>) throws(PerfError) -> Double {
        guard let number = Double(text), range ~= number else {
            throw PerfError(
                "--\(flag) is '\(text)': use a number from \(written(range.lowerBound)) "
                    + "to \(written(range.upperBound))", .usage)
        }
        return number
    }

    private static func written(_ number: Double) -> String {
        number == number.rounded() ? "\(Int(number))" : "\(number)"
    }

    /// Prints a result, and writes the requested files.
    func deliver(_ result: PerfResult, columns: [Metric], comparedWith old: PerfResult?) throws(PerfError) {
        let comparison = old.map { Comparison(old: $0, new: result) }
        let text = TextReport(result, columns: smoke ? columns.filter(\.isCount) : columns)
        print(text.table)
        if !smoke, !text.notes.isEmpty { print("\n" + text.notes) }
        if let comparison { print("\n" + TextReport.text(comparison, columns: columns)) }
        // Files come last, so that a full disk does not lose the printed figures.
        if let json { try result.write(to: json) }
        if let report { try HTMLReport(result, columns: columns, comparison: comparison).write(to: report) }
    }
}
