internal import Foundation

/// A line chart as SVG.
package struct LinePlot {
    package struct Series {
        package let name: String
        /// The points with their labels, in the order in which the line connects them.
        package let points: [(x: Double, y: Double, label: String)]

        package init(name: String, points: [(x: Double, y: Double, label: String)]) {
            self.name = name
            self.points = points
        }
    }

    let title: String
    let xTitle: String
    let yTitle: String
    let series: [Series]
    let xScale: Axis.Scale
    let yScale: Axis.Scale
    let xMarks: [Axis.Mark]?
    let labelsPoints: Bool

    /// - Parameters:
    ///   - xMarks: the marks of the x axis; nil for round values.
    ///   - labelsPoints: whether to draw each point's label.
    package init(
        title: String, xTitle: String, yTitle: String, series: [Series], xScale: Axis.Scale = .logarithmic,
        yScale: Axis.Scale = .logarithmic, xMarks: [Axis.Mark]? = nil, labelsPoints: Bool = false
    ) {
        self.title = title
        self.xTitle = xTitle
        self.yTitle = yTitle
        self.series = series
        self.xScale = xScale
        self.yScale = yScale
        self.xMarks = xMarks
        self.labelsPoints = labelsPoints
    }

    static let width = 1080.0
    private let top = 16.0
    private let bottom = 340.0
    private let left = 76.0
    private let right = 880.0

    package var svg: String {
        let points = series.flatMap(\.points)
        let xAxis = Axis(xScale, showing: points.map(\.x), from: left, to: right)
        let yAxis = Axis(yScale, showing: points.map(\.y), from: bottom, to: top)
        var parts = yAxis.marks.map { mark in
            let y = SVG.number(yAxis.position(mark.value))
            return """
                <line class="grid" x1="\(SVG.number(left))" x2="\(SVG.number(right))" y1="\(y)" y2="\(y)"/>\
                <text class="mark" x="\(SVG.number(left - 8))" y="\(y)" dy="4" text-anchor="end">\(mark.text)</text>
                """
        }
        parts += (xMarks ?? xAxis.marks).map { mark in
            """
            <text class="mark" x="\(SVG.number(xAxis.position(mark.value)))" y="\(SVG.number(bottom + 20))" \
            text-anchor="middle">\(mark.text)</text>
            """
        }
        var labeled: [Double] = []
        for (number, line) in series.enumerated() where !line.points.isEmpty {
            parts.append(draw(line, number: number, xAxis, yAxis, labeled: &labeled))
        }
        parts.append(
            """
            <text class="title" x="\(SVG.number((left + right) / 2))" y="\(SVG.number(bottom + 44))" \
            text-anchor="middle">\(SVG.escaped(xTitle))</text>\
            <text class="title" transform="translate(16 \(SVG.number((top + bottom) / 2))) rotate(-90)" \
            text-anchor="middle">\(SVG.escaped(yTitle))</text>
            """)
        return SVG.figure(title, width: Self.width, height: bottom + 56, parts)
    }

    private func draw(
        _ line: Series, number: Int, _ xAxis: Axis, _ yAxis: Axis, labeled: inout [Double]
    ) -> String {
        let places = line.points.map { (x: xAxis.position($0.x), y: yAxis.position($0.y), label: $0.label) }
        let path = places.map { "\(SVG.number($0.x)),\(SVG.number($0.y))" }.joined(separator: " ")
        let color = "series-\(number % SVG.seriesCount)"
        var text = "<polyline class=\"line \(color)\" points=\"\(path)\"/>"
        for place in places {
            text += """
                <circle class="dot \(color)" cx="\(SVG.number(place.x))" cy="\(SVG.number(place.y))" r="4">\
                <title>\(SVG.escaped("\(line.name): \(place.label)"))</title></circle>
                """
            if labelsPoints {
                text += """
                    <text class="mark" x="\(SVG.number(place.x))" \
                    y="\(SVG.number(place.y + (number == 0 ? -10 : 20)))" \
                    text-anchor="middle">\(SVG.escaped(place.label))</text>
                    """
            }
        }
        // The series name is at the height of the line's end, moved down to avoid earlier names.
        var y = places.last?.y ?? 0
        while let other = labeled.first(where: { abs($0 - y) < 17 }) { y = other + 17 }
        labeled.append(y)
        let x = right + 24
        text += """
            <line class="line \(color)" x1="\(SVG.number(x - 14))" x2="\(SVG.number(x - 2))" y1="\(SVG.number(y))" \
            y2="\(SVG.number(y))"/>\
            <text class="name" x="\(SVG.number(x + 4))" y="\(SVG.number(y))" dy="4">\(SVG.escaped(line.name))</text>
            """
        return text
    }
}
