/// A setting with an invalid value.
public struct InvalidSetting: Error, Equatable, CustomStringConvertible {
    /// The setting, by the name that configurations use.
    public let name: String
    /// Its value, as it was given; `***` for a secret.
    public let value: String
    /// How to correct it.
    public let remedy: String

    package init(name: String, value: String, remedy: String) {
        self.name = name
        self.value = value
        self.remedy = remedy
    }

    /// Name, value and remedy in one line.
    public var description: String { "\(name) is \(value): \(remedy)" }
}
