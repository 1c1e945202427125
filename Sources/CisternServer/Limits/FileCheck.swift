internal import Cistern
internal import Foundation
internal import Yams

/// Validates a file as a server would, and summarizes it.
package enum FileCheck {
    /// A one-line summary of a limits or settings file.
    ///
    /// - Throws: `SettingsError` for the first error, with its line.
    package static func describe(_ path: String) throws(SettingsError) -> String {
        let text: String
        do {
            text = try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            throw SettingsError("\(path): the file cannot be read: \(readable(error))")
        }
        let document = try YAMLDocument(path: path, text: text)
        guard !document.entries.isEmpty else {
            throw SettingsError("\(path): the file is empty: write limits or settings; a server rejects empty limits")
        }
        if document.entries.contains(where: { LimitsFile.fields.contains($0.key.string ?? "") }) {
            return describe(try LimitsFile.parse(text, path: path, standard: .standard), path: path)
        }
        let values = try SettingsFile.parse(text, path: path)
        do {
            _ = try ServerSettings(SettingsReader(flags: [:], environment: [:], file: values), readsLimits: true)
        } catch {
            // Name the line if the invalid setting is in this file.
            guard let name = error.setting?.name,
                let key = document.entries.first(where: { $0.key.string == name })?.key
            else { throw error }
            throw document.error(at: key, error.description)
        }
        return "\(path): settings, \(values.count) of \(Setting.all.count)"
    }

    private static func describe(_ limits: Limits, path: String) -> String {
        let standard = limits.standard
        return "\(path): limits of \(limits.keyCount) organizations; default \(standard.capacity) tokens, "
            + "\(standard.refill)" + (standard.isShadow ? ", in shadow" : "")
    }
}
