internal import Cistern

/// Writes metrics in Prometheus' text format 0.0.4.
struct PrometheusText {
    /// The media type of what is written.
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    enum Kind: String {
        case counter
        case gauge
        case histogram
    }

    typealias Labels = [(name: String, value: String)]

    private(set) var text = ""

    /// Opens a family: what it is called, what kind it is, and what it says.
    mutating func family(_ name: String, _ kind: Kind, _ help: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n"
    }

    /// Writes one value of the family opened last.
    mutating func sample(_ name: String, _ labels: Labels = [], _ value: some BinaryInteger) {
        text += name + Self.written(labels) + " \(value)\n"
    }

    /// Writes a histogram of the family opened last, in seconds.
    mutating func histogram(_ name: String, _ labels: Labels, _ histogram: LatencyHistogram) {
        var total: UInt64 = 0
        for (index, bound) in LatencyHistogram.upperBoundsNanoseconds.enumerated() {
            total += histogram.counts[index]
            let bucket = labels + [("le", "\(Double(bound) / 1_000_000_000)")]
            sample(name + "_bucket", bucket, total)
        }
        total += histogram.counts[LatencyHistogram.upperBoundsNanoseconds.count]
        sample(name + "_bucket", labels + [("le", "+Inf")], total)
        text += name + "_sum" + Self.written(labels) + " \(Double(histogram.sumNanoseconds) / 1_000_000_000)\n"
        sample(name + "_count", labels, total)
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
