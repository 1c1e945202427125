internal import Cistern
internal import CisternReport
internal import CisternServer

/// The results of a search as one self-contained HTML page with plots.
struct TunePage {
    private let report: TuneReport

    init(_ report: TuneReport) {
        self.report = report
    }

    var html: String {
        let figures = report.workload.figures.map { [$0.name, $0.value, $0.source] }
        let notes = (report.workload.notes + [report.scale.sentence]).map { "<p>\(SVG.escaped($0))</p>" }
        let choices = report.rows.map { [report.name($0)] + TuneReport.cells($0) }
        return HTMLPage(
            "cistern tune",
            body: """
                <p>\(SVG.escaped(report.sentence))</p>
                \(plot("Requests lost against store calls", "lost %", \.underAdmissionPercent))
                \(plot("Tokens stranded against store calls", "stranded tokens", \.strandedTokens))
                <h2>Choices</h2>
                \(HTMLPage.table([""] + TuneReport.headings, choices))
                <h2>Workload</h2>
                \(HTMLPage.table(["", "", "from"], figures))
                \(notes.joined(separator: "\n"))
                <h2>Settings</h2>
                <pre>\(SVG.escaped(report.yaml))</pre>
                """
        ).html
    }

    /// Plots the Pareto front as a line, and the recommended, current and default settings as separate points.
    private func plot(_ title: String, _ yTitle: String, _ figure: @escaping (TuneRow) -> Double) -> String {
        let point = { (row: TuneRow) in
            (
                x: max(row.storeCallsPerSecond, 0.01), y: figure(row),
                label: "horizon \(row.lease.horizonMilliseconds)ms, \(decimal(row.storeCallsPerSecond, 1)) calls/s, "
                    + decimal(figure(row), 2)
            )
        }
        let paretoFront = report.rows.filter { row in report.tradeOff.paretoFront.contains(row) }
        let marked = report.rows.filter { !report.name($0).isEmpty }
        return LinePlot(
            title: title, xTitle: "store calls a second", yTitle: yTitle,
            series: [LinePlot.Series(name: "Pareto front", points: paretoFront.map(point))]
                + marked.map { LinePlot.Series(name: report.name($0), points: [point($0)]) },
            yScale: .linear
        ).svg
    }
}
