internal import CisternReport
internal import CisternServer
internal import Foundation

/// A result as one self-contained HTML page with plots: no scripts, fonts or requests.
struct HTMLReport {
    private let result: PerfResult
    private let columns: [Metric]
    private let comparison: Comparison?

    init(_ result: PerfResult, columns: [Metric], comparison: Comparison?) {
        self.result = result
        self.columns = columns.filter { metric in result.rows.contains { $0[metric] != nil } }
        self.comparison = comparison
    }

    /// Writes the page.
    func write(to path: String) throws(PerfError) {
        do {
            try html.write(toFile: path, atomically: true, encoding: .utf8)
        } catch {
            throw PerfError("--report \(path) cannot be written: \(readable(error))", .unavailable)
        }
    }

    var html: String {
        let settings = result.settings.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        return HTMLPage(
            "perf \(result.kind)",
            body: """
                <p>\(SVG.escaped(result.startedAt)) · \(SVG.escaped(result.machine.summary))</p>
                <p>\(SVG.escaped(settings.joined(separator: ", ")))</p>
                \(plots.joined(separator: "\n"))
                <h2>Figures</h2><p>Medians of the repetitions.</p>
                \(figures)
                \(ratios)\(changes)
                """
        ).html
    }

    // MARK: Plots

    private var plots: [String] {
        switch result.kind {
        case "tiers": [throughput] + Tier.Interface.allCases.map { latencies(of: $0.rawValue) }
        case "engine": [engine]
        case "leases": tradeOffs
        default: [latencies(of: nil)]
        }
    }

    private var throughput: String {
        BarPlot(
            title: "Decisions a second, by tier",
            xTitle: "decisions a second (dashed: the reference's figure; thin: spread)",
            bars: bars(.decisionsPerSecond) { $0.name.hasSuffix(Tier.Interface.http.rawValue) ? 1 : 0 }
        ).svg
    }

    private var engine: String {
        BarPlot(
            title: "Nanoseconds a decision", xTitle: "nanoseconds a decision, clock read included (thin: spread)",
            bars: bars(.nanosecondsPerDecision) { $0.name.hasPrefix(EngineRun.Kind.leased.rawValue) ? 1 : 0 }
        ).svg
    }

    private func bars(_ metric: Metric, series: (PerfResult.Row) -> Int) -> [BarPlot.Bar] {
        result.rows.compactMap { row in
            guard let value = row[metric] else { return nil }
            let values = row.samples.compactMap { $0.values[metric] }
            let range = (values.min() ?? value)...(values.max() ?? value)
            return BarPlot.Bar(
                name: row.name, value: value, range: range, reference: row.referencePerSecond, series: series(row))
        }
    }

    /// Plots the latency by percentile of one interface's rows; the x axis is logarithmic in 1 / (1 − percentile).
    private func latencies(of interface: String?) -> String {
        let rows = result.rows.filter { row in interface.map { row.name.hasSuffix(", \($0)") } ?? true }
        let series = rows.compactMap { row -> LinePlot.Series? in
            let points = Self.medians(row).filter { $0.percent < 100 }.map { percentile in
                (
                    x: 1 / (1 - percentile.percent / 100), y: percentile.microseconds,
                    label: "\(percentile.percent) %: \(Axis.formatted(percentile.microseconds)) µs"
                )
            }
            let name = interface.map { String(row.name.dropLast($0.count + 2)) } ?? row.name
            return points.isEmpty ? nil : LinePlot.Series(name: name, points: points)
        }
        let marks = [0, 90, 99, 99.9, 99.99, 99.999].map {
            Axis.Mark(value: 1 / (1 - $0 / 100), text: $0 == 0 ? "0 %" : "\(Axis.percent($0)) %")
        }
        return LinePlot(
            title: "Latency by percentile" + (interface.map { ", \($0)" } ?? ""), xTitle: "percentile",
            yTitle: "microseconds",
            series: series, xMarks: marks
        ).svg
    }

    private static func medians(_ row: PerfResult.Row) -> [PerfResult.Percentile] {
        guard let first = row.samples.first else { return [] }
        return first.percentiles.enumerated().map { index, percentile in
            let values = row.samples.compactMap { sample in
                sample.percentiles.indices.contains(index) ? sample.percentiles[index].microseconds : nil
            }.sorted()
            return PerfResult.Percentile(percent: percentile.percent, microseconds: values[values.count / 2])
        }
    }

    /// Plots the cost of fewer store calls, with a line for each duration and a point for each horizon.
    private var tradeOffs: [String] {
        [
            (Metric.underAdmissionPercent, "Requests lost against store calls", Axis.Scale.linear),
            (.outstandingTokens, "Tokens held against store calls", .linear),
            (.p99Microseconds, "Latency (p99) against store calls", .linear),
        ].map { metric, title, scale in
            let durations = result.rows.compactMap { $0.settings["leaseDuration"] }
            let series = durations.enumerated().filter { durations.firstIndex(of: $0.element) == $0.offset }.map {
                entry in
                let rows = result.rows.filter { $0.settings["leaseDuration"] == entry.element }
                return LinePlot.Series(
                    name: "duration \(entry.element)",
                    points: rows.compactMap { row in
                        guard let x = row[.storeCallsPerThousand], let y = row[metric], x > 0 else { return nil }
                        return (x: x, y: y, label: row.settings["leaseHorizon"] ?? "")
                    })
            }
            return LinePlot(
                title: "\(title), by lease horizon", xTitle: "store calls for 1000 decisions", yTitle: metric.heading,
                series: series, yScale: scale, labelsPoints: true
            ).svg
        }
    }

    // MARK: Tables

    private var figures: String {
        let cells = Cells(result, columns: columns)
        return HTMLPage.table([""] + cells.headings, cells.rows)
    }

    private var ratios: String {
        guard !result.ratios.isEmpty else { return "" }
        return "<h2>Ratios</h2>"
            + HTMLPage.table(
                ["", "measured", ""],
                result.ratios.map { [$0.what, decimal($0.value, 2), TextReport.verdict($0) ?? ""] })
    }

    private var changes: String {
        guard let comparison else { return "" }
        let unlike = comparison.differences.map { "<p>different: \(SVG.escaped($0))</p>" }.joined()
        let cells = Cells(comparison, columns: columns)
        return "<h2>Changes</h2>\(unlike)" + HTMLPage.table([""] + cells.headings, cells.rows)
    }
}

extension Axis {
    /// A percentage without trailing zeros: 99.9, not 99.900.
    static func percent(_ value: Double) -> String { String(format: "%g", value) }
}
