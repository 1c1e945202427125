internal import Foundation

/// One axis of a plot: maps values to pixels, with marks at round values.
package struct Axis {
    package enum Scale {
        case linear
        case logarithmic
    }

    package struct Mark: Equatable {
        package let value: Double
        package let text: String

        package init(value: Double, text: String) {
            self.value = value
            self.text = text
        }
    }

    private let scale: Scale
    private let low: Double
    private let high: Double
    private let start: Double
    private let end: Double

    /// - Parameters:
    ///   - values: the values to show; a logarithmic axis ignores values of 0 and below.
    ///   - start: the pixel of the lowest value.
    ///   - end: the pixel of the highest value.
    package init(_ scale: Scale, showing values: [Double], from start: Double, to end: Double) {
        self.scale = scale
        self.start = start
        self.end = end
        switch scale {
        case .linear:
            let most = values.max() ?? 1
            low = 0
            high = most > 0 ? most * 1.08 : 1
        case .logarithmic:
            let shown = values.filter { $0 > 0 }
            // Whole decades, so that there are at least two marks.
            low = floor(log10(shown.min() ?? 1))
            high = max(low + 1, ceil(log10(shown.max() ?? 10) + 1e-9))
        }
    }

    /// The pixel of a value; a logarithmic axis places values below its lowest value at its start.
    package func position(_ value: Double) -> Double {
        let place = scale == .linear ? value : log10(max(value, pow(10, low)))
        return start + (place - low) / (high - low) * (end - start)
    }

    /// The marks, at round values.
    package var marks: [Mark] {
        switch scale {
        case .logarithmic:
            return (Int(low)...Int(high)).map {
                Mark(value: pow(10, Double($0)), text: Self.formatted(pow(10, Double($0))))
            }
        case .linear:
            let rough = high / 5
            let power = pow(10, floor(log10(rough)))
            let step = [1, 2, 5, 10].map { $0 * power }.first { $0 >= rough } ?? rough
            return stride(from: 0, through: high, by: step).map { Mark(value: $0, text: Self.formatted($0)) }
        }
    }

    /// A value in compact form: 1.5M, 20k, 300, 0.02.
    package static func formatted(_ value: Double) -> String {
        let (divisor, unit): (Double, String) =
            switch abs(value) {
            case 1e9...: (1e9, "G")
            case 1e6...: (1e6, "M")
            case 1e3...: (1e3, "k")
            default: (1, "")
            }
        return String(format: "%.3g", value / divisor) + unit
    }
}
