internal import CisternReport
internal import CisternServer
internal import Foundation

/// A result as an aligned text table, with units in the headings.
struct TextReport {
    private let result: PerfResult
    private let columns: [Metric]

    /// - Parameter columns: the metrics to show; those that were not measured are left out.
    init(_ result: PerfResult, columns: [Metric]) {
        self.result = result
        self.columns = columns.filter { metric in result.rows.contains { $0[metric] != nil } }
    }

    var table: String {
        Self.table(result.kind.uppercased(), Cells(result, columns: columns), texts: ["met"])
    }

    private static func table(_ title: String, _ cells: Cells, texts: Set<String>) -> String {
        var table = TextTable([title] + cells.headings, texts: texts.union([title]))
        for row in cells.rows { table.add(row) }
        return table.text
    }

    /// Whether a row reaches the reference architecture's figure; nil if there is none.
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

    /// The required minimum of a ratio, and whether it is reached; nil if there is none.
    static func verdict(_ ratio: PerfResult.Ratio) -> String? {
        guard let wanted = ratio.wanted, let isMet = ratio.isMet else { return nil }
        return "wanted \(decimal(wanted, 1)): \(isMet ? "met" : "not met")"
    }

    static func text(_ comparison: Comparison, columns: [Metric]) -> String {
        let table = table("CHANGES", Cells(comparison, columns: columns), texts: ["figure", "verdict"])
        let unlike =
            comparison.differences.isEmpty ? "" : "\ndifferent: \(comparison.differences.joined(separator: "; "))"
        let rest =
            comparison.unmatched.isEmpty
            ? "" : "\nonly in one of the two: \(comparison.unmatched.joined(separator: "; "))"
        return table + unlike + rest
    }

    static func signed(_ percent: Double) -> String { (percent > 0 ? "+" : "") + decimal(percent, 1) }

    static func written(_ value: Double?, _ metric: Metric) -> String {
        guard let value else { return "-" }
        return metric.decimals == 0 ? grouped(Int(value.rounded())) : decimal(value, metric.decimals)
    }

    /// A whole number with commas between groups of three digits.
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
