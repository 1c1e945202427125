/// A setting that cannot be: which one, its value, and what would be right.
///
/// The command exits with 64.
package struct SettingsError: Error, Equatable, CustomStringConvertible {
    package let description: String
    /// The setting; nil where the description says already where it stands.
    let setting: Setting?

    package init(_ description: String) {
        self.description = description
        setting = nil
    }

    init(_ setting: Setting, value: String, remedy: String) {
        self.setting = setting
        let flag = setting.hasFlag ? "\(setting.flag), " : ""
        description = "\(setting.name) is '\(value)': \(remedy) (\(flag)\(setting.variable))"
    }
}
