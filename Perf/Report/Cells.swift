internal import CisternReport
internal import CisternServer

/// A result as rows of text cells, the same for the terminal and for the HTML page.
struct Cells {
    /// The headings, without that of the first column, which has the names of the rows.
    let headings: [String]
    let rows: [[String]]

    /// The figures of a result, with the reference's figures if it has any.
    init(_ result: PerfResult, columns: [Metric]) {
        let hasReference =
            result.rows.contains { $0.referencePerSecond != nil } && columns.contains(.decisionsPerSecond)
        headings = columns.map(\.heading) + (hasReference ? ["reference/s", "met"] : [])
        rows = result.rows.map { row in
            let cells = [row.name] + columns.map { TextReport.written(row[$0], $0) }
            guard hasReference else { return cells }
            return cells + [
                row.referencePerSecond.map { TextReport.grouped(Int($0)) } ?? "", TextReport.met(row) ?? "",
            ]
        }
    }

    /// The changes of a comparison.
    init(_ comparison: Comparison, columns: [Metric]) {
        headings = ["figure", "before", "now", "change %", "noise %", "verdict"]
        rows = comparison.changes.filter { columns.contains($0.metric) }.map { change in
            [
                change.row, change.metric.heading, TextReport.written(change.old, change.metric),
                TextReport.written(change.new, change.metric), change.percent.map { TextReport.signed($0) } ?? "-",
                decimal(change.noisePercent, 1), change.verdict.rawValue,
            ]
        }
    }
}
