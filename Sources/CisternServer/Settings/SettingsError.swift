/// An invalid setting: its name, its value and how to correct it.
///
/// The command exits with code 64.
package struct SettingsError: Error, Equatable, CustomStringConvertible {
    package let description: String
    /// The setting; nil if the description already names the location.
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
