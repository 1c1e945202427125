internal import Foundation
internal import Yams

/// The settings file (`--config`): one `name: value` line per setting.
enum SettingsFile {
    /// Reads a file into values by setting name; a list becomes a comma-separated string.
    ///
    /// - Throws: `SettingsError` if the file cannot be read or contains an unknown setting.
    static func read(_ path: String) throws(SettingsError) -> [String: String] {
        let text: String
        do {
            text = try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            throw SettingsError(
                "config is '\(path)': the file cannot be read: \(readable(error)) (--config, CISTERN_CONFIG)")
        }
        return try parse(text, path: path)
    }

    /// Parses the text of a settings file.
    static func parse(_ text: String, path: String) throws(SettingsError) -> [String: String] {
        let document = try YAMLDocument(path: path, text: text)
        var values: [String: String] = [:]
        for (key, value) in document.entries {
            let name = key.string ?? ""
            guard Setting.all.contains(where: { $0.name == name }) else {
                throw document.error(
                    at: key, "'\(name)' is not a setting: use \(Setting.all.map(\.name).joined(separator: ", "))")
            }
            if let scalar = value.scalar {
                values[name] = scalar.string
            } else if let sequence = value.sequence, sequence.allSatisfy({ $0.scalar != nil }) {
                values[name] = sequence.compactMap { $0.scalar?.string }.joined(separator: ",")
            } else {
                throw document.error(at: value, "\(name) must be a single value")
            }
        }
        return values
    }
}
