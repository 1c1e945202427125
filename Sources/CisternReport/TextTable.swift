internal import Foundation

/// A text table with headings, its columns as wide as their contents.
package struct TextTable {
    /// The headings, and whether each column holds text.
    private let columns: [(title: String, isText: Bool)]
    private var rows: [[String]] = []

    /// - Parameters:
    ///   - columns: the headings.
    ///   - texts: the headings of text columns, which are left-aligned; numbers are right-aligned.
    package init(_ columns: [String], texts: Set<String>) {
        self.columns = columns.map { ($0, texts.contains($0)) }
    }

    package mutating func add(_ row: [String]) {
        precondition(row.count == columns.count, "a row has a cell for each column")
        rows.append(row)
    }

    package var text: String {
        let lines = [columns.map(\.title)] + rows
        let widths = columns.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        return lines.map { line in
            var text = line.indices.map { column in
                let padding = String(repeating: " ", count: widths[column] - line[column].count)
                return columns[column].isText ? line[column] + padding : padding + line[column]
            }.joined(separator: "  ")
            while text.last == " " { text.removeLast() }
            return text
        }.joined(separator: "\n")
    }
}

/// Formats a number with `digits` decimals.
package func decimal(_ value: Double, _ digits: Int) -> String {
    String(format: "%.\(digits)f", value)
}
