internal import CisternServer
internal import Foundation

/// A result as text: a table, aligned, with units in its headings.
struct TextReport {
    private let result: PerfResult
    private let columns: [Metric]

    /// - Parameter columns: what to show, as far as it was measured.
    init(_ result: PerfResult, columns: [Metric]) {
        self.result = result
        self.columns = columns.filter { metric in result.rows.contains { $0[metric] != nil } }
    }

    var table: String {
        let hasReference =
            result.rows.contains { $0.referencePerSecond != nil } && columns.contains(.decisionsPerSecond)
        var table = TextTable(
            [result.kind.uppercased()] + columns.map(\.heading) + (hasReference ? ["reference/s", "met"] : []),
            texts: [result.kind.uppercased(), "met"])
        for row in result.rows {
            var cells = [row.name] + columns.map { Self.written(row[$0], $0) }
            if hasReference {
                cells.append(row.referencePerSecond.map { Self.grouped(Int($0)) } ?? "")
                cells.append(Self.met(row) ?? "")
            }
            table.add(cells)
        }
        return table.text
    }

    /// Whether a tier gives what the reference architecture says of it; nil where that says nothing.
    static func met(_ row: PerfResult.Row) -> String? {
        guard let wanted = row.referencePerSecond, let measured = row[.decisionsPerSecond] else { return nil }
        return measured >= wanted ? "yes" : "no, \(decimal(measured / wanted * 100, 0)) %"
    }

    var notes: String {
        let ratios = result.ratios.map {
            "\($0.what): \(decimal($0.value, 2))\(Self.verdict($0).map { " (\($0))" } ?? "")"
        }
        let settings = result.settings.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        return (ratios + [settings.joined(separator: ", "), result.machine.summary]).joined(separator: "\n")
    }

    /// What a ratio should be at least, and whether it is.
    static func verdict(_ ratio: PerfResult.Ratio) -> String? {
        guard let wanted = ratio.wanted, let isMet = ratio.isMet else { return nil }
        return "wanted \(decimal(wanted, 1)): \(isMet ? "met" : "not met")"
    }

    static func text(_ comparison: Comparison, columns: [Metric]) -> String {
        var table = TextTable(
            ["SINCE THEN", "figure", "before", "now", "change %", "noise %", "verdict"],
            texts: ["SINCE THEN", "figure", "verdict"])
        for change in comparison.changes where columns.contains(change.metric) {
            table.add([
                change.row, change.metric.heading, written(change.old, change.metric),
                written(change.new, change.metric), change.percent.map { signed($0) } ?? "-",
                decimal(change.noisePercent, 1), change.verdict.rawValue,
            ])
        }
        let unlike =
            comparison.differences.isEmpty ? "" : "\nnot run alike: \(comparison.differences.joined(separator: "; "))"
        let rest =
            comparison.unmatched.isEmpty
            ? "" : "\nonly in one of the two: \(comparison.unmatched.joined(separator: "; "))"
        return table.text + unlike + rest
    }

    static func signed(_ percent: Double) -> String { (percent > 0 ? "+" : "") + decimal(percent, 1) }

    static func written(_ value: Double?, _ metric: Metric) -> String {
        guard let value else { return "-" }
        return metric.decimals == 0 ? grouped(Int(value.rounded())) : decimal(value, metric.decimals)
    }

    /// A whole number with its thousands apart.
    static func grouped(_ number: Int) -> String {
        var digits = String(number.magnitude)
        var groups: [String] = []
        while digits.count > 3 {
            groups.insert(String(digits.suffix(3)), at: 0)
            digits.removeLast(3)
        }
        return (number < 0 ? "-" : "") + ([digits] + groups).joined(separator: ",")
    }
}
