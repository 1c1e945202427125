internal import Cistern
internal import Configuration
internal import Foundation

/// Reads single settings; flags take precedence over the environment, and the environment over the file.
///
/// Values stay text until they are read here, so that errors show them as written. An invalid value is an error and
/// never falls back to the default.
package struct SettingsReader {
    private let reader: ConfigReader

    /// - Parameters:
    ///   - flags: values from the command line, by setting name.
    ///   - environment: the process's environment.
    ///   - file: values from a settings file, by setting name.
    init(flags: [String: String], environment: [String: String], file: [String: String]) {
        reader = ConfigReader(providers: [
            InMemoryProvider(name: "flags", values: Self.values(flags)),
            EnvironmentVariablesProvider(environmentVariables: environment).prefixKeys(with: "cistern"),
            InMemoryProvider(name: "file", values: Self.values(file)),
        ])
    }

    private static func values(_ values: [String: String]) -> [AbsoluteConfigKey: ConfigValue] {
        Dictionary(
            uniqueKeysWithValues: values.map { (AbsoluteConfigKey([$0]), ConfigValue(.string($1), isSecret: false)) })
    }

    /// The value of a setting, as it was written; nil if it has none.
    func written(_ setting: Setting) -> String? {
        reader.string(forKey: ConfigKey([setting.name]))
    }

    /// The text of a setting: its value, else its default; nil if it has neither.
    func text(_ setting: Setting) -> String? { written(setting) ?? setting.standard }

    /// A whole number in a range.
    func integer(_ setting: Setting, in range: ClosedRange<Int>) throws(SettingsError) -> Int {
        let text = text(setting) ?? ""
        guard let number = Int(text), range ~= number else {
            throw SettingsError(
                setting, value: text, remedy: "use a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// A duration in milliseconds, written with its unit: 250ms, 2s, 1m, 1h.
    func milliseconds(_ setting: Setting, in range: ClosedRange<Int64>) throws(SettingsError) -> Int64 {
        let text = text(setting) ?? ""
        guard let milliseconds = Duration.wholeMilliseconds(in: text), range ~= milliseconds else {
            throw SettingsError(
                setting, value: text,
                remedy: "use a time from \(Self.formatted(range.lowerBound)) to \(Self.formatted(range.upperBound))")
        }
        return milliseconds
    }

    /// One of the raw values of an enumeration.
    func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ setting: Setting, of type: Choice.Type
    ) throws(SettingsError) -> Choice {
        let text = text(setting) ?? ""
        guard let choice = Choice(rawValue: text) else {
            let words = type.allCases.map(\.rawValue).joined(separator: ", ")
            throw SettingsError(setting, value: text, remedy: "use one of \(words)")
        }
        return choice
    }

    private static func formatted(_ milliseconds: Int64) -> String {
        let units: [(suffix: String, milliseconds: Int64)] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)]
        let unit = units.first { milliseconds % $0.milliseconds == 0 && milliseconds >= $0.milliseconds } ?? units[2]
        return "\(milliseconds / unit.milliseconds)\(unit.suffix)"
    }
}
