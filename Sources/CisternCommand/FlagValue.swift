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

    static func limit(capacity: String, refillPerSecond rate: String) throws(FlagError) -> Limit {
        guard let refill = Double(rate) else {
            throw FlagError("refill-per-second", rate, "use a number of tokens a second, such as 1000")
        }
        let tokens = try integer("capacity", capacity, in: 1...Limit.maximumCapacity)
        do {
            return try Limit(capacity: tokens, refillPerSecond: refill)
        } catch {
            throw FlagError("refill-per-second", rate, error.remedy)
        }
    }

    /// Formats a number without a trailing `.0`: 1000, not 1000.0.
    static func shortest(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : "\(value)"
    }
}
