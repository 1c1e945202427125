internal import Cistern
internal import CisternServer

/// An invalid argument: its flag, its value and how to correct it.
struct FlagError: Error, CustomStringConvertible {
    let description: String

    init(_ flag: String, _ value: String, _ remedy: String) {
        description = "--\(flag) is '\(value)': \(remedy)"
    }

    init(_ description: String) {
        self.description = description
    }
}

/// Parses the values of flags; each error says how to correct the value.
enum FlagValue {
    static func integer(_ flag: String, _ text: String, in range: ClosedRange<Int>) throws(FlagError) -> Int {
        guard let number = Int(text), range ~= number else {
            throw FlagError(flag, text, "use a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    static func number(_ flag: String, _ text: String, in range: ClosedRange<Double>) throws(FlagError) -> Double {
        guard let number = Double(text), range ~= number else {
            let (low, high) = (shortest(range.lowerBound), shortest(range.upperBound))
            throw FlagError(flag, text, "use a number from \(low) to \(high)")
        }
        return number
    }

    /// - Parameter words: the range in words, with units.
    static func milliseconds(
        _ flag: String, _ text: String, in range: ClosedRange<Int64>, _ words: String
    ) throws(FlagError) -> Int64 {
        guard let milliseconds = Duration.wholeMilliseconds(in: text), range ~= milliseconds else {
            throw FlagError(flag, text, "use a time from \(words)")
        }
        return milliseconds
    }

    static func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ flag: String, _ text: String
    ) throws(FlagError) -> Choice {
        guard let choice = Choice(rawValue: text) else {
            throw FlagError(flag, text, "use one of \(Choice.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return choice
    }

    /// - Parameters:
    ///   - refill: the value of `--refill`; nil for 1000 tokens a second.
    ///   - refillPerSecond: the value of `--refill-per-second`, which takes the place of the other.
    static func limit(capacity: String, refill: String?, refillPerSecond: String?) throws(FlagError) -> Limit {
        do {
            return try Limit(
                capacity: capacity, refill: refill ?? (refillPerSecond == nil ? "1000/s" : nil),
                refillPerSecond: refillPerSecond, standard: .standard)
        } catch {
            switch error.field {
            case .capacity: throw FlagError("capacity", capacity, error.remedy)
            case .refill: throw FlagError("refill", refill ?? "", error.remedy)
            case .refillPerSecond: throw FlagError("refill-per-second", refillPerSecond ?? "", error.remedy)
            }
        }
    }

    /// Formats a number without a trailing `.0`: 1000, not 1000.0.
    static func shortest(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : "\(value)"
    }
}
