internal import Foundation

/// A horizontal bar chart as SVG, on a logarithmic axis so that values a hundredfold apart stay legible.
package struct BarPlot {
    package struct Bar {
        let name: String
        let value: Double
        /// The minimum and maximum over the repetitions.
        let range: ClosedRange<Double>
        /// A value to compare with; nil for none.
        let reference: Double?
        /// The series, which sets the color.
        let series: Int

        package init(name: String, value: Double, range: ClosedRange<Double>, reference: Double?, series: Int) {
            self.name = name
            self.value = value
            self.range = range
            self.reference = reference
            self.series = series
        }
    }

    let title: String
    let xTitle: String
    let bars: [Bar]

    package init(title: String, xTitle: String, bars: [Bar]) {
        self.title = title
        self.xTitle = xTitle
        self.bars = bars
    }

    private let left = 290.0
    private let right = 960.0
    private let rowHeight = 28.0

    package var svg: String {
        let bottom = 8 + Double(bars.count) * rowHeight
        let values = bars.flatMap {
            [$0.value, $0.range.lowerBound, $0.range.upperBound] + ($0.reference.map { [$0] } ?? [])
        }
        let axis = Axis(.logarithmic, showing: values, from: left, to: right)
        var parts = axis.marks.map { mark in
            let x = SVG.number(axis.position(mark.value))
            return """
                <line class="grid" x1="\(x)" x2="\(x)" y1="4" y2="\(SVG.number(bottom))"/>\
                <text class="mark" x="\(x)" y="\(SVG.number(bottom + 18))" text-anchor="middle">\(mark.text)</text>
                """
        }
        for (index, bar) in bars.enumerated() {
            parts.append(draw(bar, top: 8 + Double(index) * rowHeight, axis))
        }
        parts.append(
            """
            <text class="title" x="\(SVG.number((left + right) / 2))" y="\(SVG.number(bottom + 42))" \
            text-anchor="middle">\(SVG.escaped(xTitle))</text>
            """)
        return SVG.figure(title, width: LinePlot.width, height: bottom + 54, parts)
    }

    private func draw(_ bar: Bar, top: Double, _ axis: Axis) -> String {
        let middle = top + rowHeight / 2 - 2
        let end = axis.position(bar.value)
        let spread = (axis.position(bar.range.lowerBound), axis.position(bar.range.upperBound))
        var text = """
            <text class="name" x="\(SVG.number(left - 10))" y="\(SVG.number(middle))" dy="4" \
            text-anchor="end">\(SVG.escaped(bar.name))</text>\
            <rect class="bar series-\(bar.series % SVG.seriesCount)" x="\(SVG.number(left))" \
            y="\(SVG.number(top + 3))" width="\(SVG.number(max(1, end - left)))" \
            height="\(SVG.number(rowHeight - 10))" \
            rx="3"><title>\(SVG.escaped("\(bar.name): \(Axis.formatted(bar.value))"))</title></rect>\
            <line class="spread" x1="\(SVG.number(spread.0))" x2="\(SVG.number(spread.1))" y1="\(SVG.number(middle))" \
            y2="\(SVG.number(middle))"/>\
            <text class="value" x="\(SVG.number(max(end, spread.1) + 8))" y="\(SVG.number(middle))" \
            dy="4">\(Axis.formatted(bar.value))</text>
            """
        if let reference = bar.reference {
            let x = SVG.number(axis.position(reference))
            text += """
                <line class="reference" x1="\(x)" x2="\(x)" y1="\(SVG.number(top))" \
                y2="\(SVG.number(top + rowHeight - 4))"><title>\
                \(SVG.escaped("the reference: \(Axis.formatted(reference))"))</title></line>
                """
        }
        return text
    }
}
