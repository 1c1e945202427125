/// A self-contained HTML page: no script, no font, no request.
package struct HTMLPage {
    private let title: String
    private let body: String

    /// - Parameters:
    ///   - title: the page's title and heading.
    ///   - body: the markup below the heading.
    package init(_ title: String, body: String) {
        self.title = title
        self.body = body
    }

    package var html: String {
        """
        <!DOCTYPE html>
        <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
        <title>\(SVG.escaped(title))</title><style>
        \(SVG.style)
        </style></head><body>
        <h1>\(SVG.escaped(title))</h1>
        \(body)
        </body></html>

        """
    }

    /// A table with headings.
    package static func table(_ headings: [String], _ rows: [[String]]) -> String {
        func line(_ cells: [String], _ tag: String) -> String {
            "<tr>" + cells.map { "<\(tag)>\(SVG.escaped($0))</\(tag)>" }.joined() + "</tr>"
        }
        return "<div class=\"scroll\"><table>\n\(line(headings, "th"))\n"
            + rows.map { line($0, "td") }.joined(separator: "\n") + "\n</table></div>"
    }
}
