internal import Foundation

/// Building blocks shared by all plots.
package enum SVG {
    /// The number of series colors; further series reuse them.
    package static let seriesCount = 6

    /// A plot with its title; screen readers treat it as one image.
    static func figure(_ title: String, width: Double, height: Double, _ parts: [String]) -> String {
        """
        <figure><figcaption>\(escaped(title))</figcaption>
        <svg viewBox="0 0 \(number(width)) \(number(height))" role="img" aria-label="\(escaped(title))">
        \(parts.joined(separator: "\n"))
        </svg></figure>
        """
    }

    /// A coordinate, to a tenth of a pixel.
    static func number(_ value: Double) -> String { String(format: "%.1f", value) }

    /// Escapes the characters that are markup in HTML.
    package static func escaped(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
            .replacing("\"", with: "&quot;")
    }

    package static let style = """
        :root { color-scheme: light dark; --page: #fcfcfb; --text: #1a1a19; --quiet: #5f5e5a; --grid: #e4e3df;
          --s0: #2a78d6; --s1: #d9551f; --s2: #14855c; --s3: #a87200; --s4: #c2467c; --s5: #5f5e5a; }
        @media (prefers-color-scheme: dark) { :root { --page: #1a1a19; --text: #f4f3f0; --quiet: #b4b2aa; --grid: \
        #3a3936;
          --s0: #5598e7; --s1: #ee7b4a; --s2: #2fb387; --s3: #d9a02b; --s4: #e57fa9; --s5: #b4b2aa; } }
        body { margin: 0 auto; padding: 24px; max-width: 1200px; background: var(--page); color: var(--text);
          font: 15px/1.5 system-ui, sans-serif; }
        h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 32px 0 8px; }
        p { margin: 4px 0; color: var(--quiet); } .scroll { overflow-x: auto; }
        table { border-collapse: collapse; font-size: 12px; font-variant-numeric: tabular-nums; }
        th, td { padding: 4px 7px; text-align: right; border-bottom: 1px solid var(--grid); white-space: nowrap; }
        th { color: var(--quiet); font-weight: 600; } th:first-child, td:first-child, .text { text-align: left; }
        figure { margin: 24px 0; } figcaption { font-weight: 600; margin-bottom: 4px; }
        svg { width: 100%; height: auto; font: 13px system-ui, sans-serif; }
        svg text { fill: var(--text); } svg .mark, svg .title { fill: var(--quiet); }
        .grid { stroke: var(--grid); stroke-width: 1; } .line { fill: none; stroke-width: 2; }
        .dot { stroke: var(--page); stroke-width: 1.5; } .spread { stroke: var(--text); stroke-width: 1.5; }
        .reference { stroke: var(--text); stroke-width: 2; stroke-dasharray: 3 2; }
        \((0..<seriesCount).map { number in
            "svg .line.series-\(number) { stroke: var(--s\(number)); } "
                + "svg .dot.series-\(number), svg .bar.series-\(number) { fill: var(--s\(number)); }"
        }.joined(separator: "\n"))
        """
}
