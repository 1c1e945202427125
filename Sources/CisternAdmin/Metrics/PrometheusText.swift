internal import Cistern

/// Writes metrics in the Prometheus text format 0.0.4.
struct PrometheusText {
    /// The media type of the text.
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    typealias Labels = [(name: String, value: String)]

    private(set) var text = ""
    private var name = ""

    /// Starts a family, to which the next samples belong.
    mutating func family(_ family: MetricFamily) {
        name = family.name
        text += "# HELP \(name) \(family.help)\n# TYPE \(name) \(family.kind.rawValue)\n"
    }

    /// Writes the single value of a family without labels.
    mutating func sample(_ value: some Numeric) {
        write("", [], "\(value)")
    }

    /// Writes one value of the family, with labels.
    mutating func sample(_ labels: Labels, _ value: some Numeric) {
        write("", labels, "\(value)")
    }

    /// Writes a histogram of the family, in seconds.
    mutating func histogram(_ labels: Labels, _ histogram: LatencyHistogram) {
        var total: UInt64 = 0
        for (index, bound) in LatencyHistogram.upperBoundsNanoseconds.enumerated() {
            total += histogram.counts[index]
            write("_bucket", labels + [("le", "\(Double(bound) / 1_000_000_000)")], "\(total)")
        }
        total += histogram.counts[LatencyHistogram.upperBoundsNanoseconds.count]
        write("_bucket", labels + [("le", "+Inf")], "\(total)")
        write("_sum", labels, "\(Double(histogram.sumNanoseconds) / 1_000_000_000)")
        write("_count", labels, "\(total)")
    }

    private mutating func write(_ suffix: String, _ labels: Labels, _ value: String) {
        text += name + suffix + Self.written(labels) + " \(value)\n"
    }

    private static func written(_ labels: Labels) -> String {
        guard !labels.isEmpty else { return "" }
        return "{" + labels.map { #"\#($0.name)="\#(escaped($0.value))""# }.joined(separator: ",") + "}"
    }

    private static func escaped(_ value: String) -> String {
        var escaped = ""
        for character in value {
            switch character {
            case "\\": escaped += #"\\"#
            case "\"": escaped += #"\""#
            case "\n": escaped += #"\n"#
            default: escaped.append(character)
            }
        }
        return escaped
    }
}
