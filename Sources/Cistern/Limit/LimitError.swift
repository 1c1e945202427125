/// An invalid limit: the field, its value and the remedy.
public struct LimitError: Error, Equatable, CustomStringConvertible {
    /// The fields of a limit, by the names that settings and files use.
    public enum Field: String, Sendable {
        case capacity
        case refill
        case refillPerSecond
    }

    /// The field that is wrong.
    public let field: Field
    /// Its value, as it was given.
    public let value: String
    /// How to correct the value.
    public let remedy: String

    /// Field, value and remedy in one line.
    public var description: String {
        "\(field.rawValue) is \(value): \(remedy)"
    }
}
