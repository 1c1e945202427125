internal import Cistern
internal import CisternSupport
internal import Foundation
internal import Yams

/// The limits file: a default limit, and the limits of individual organizations.
///
///     default: {capacity: 100, refill: 10/s}
///     organizations:
///       acme: {capacity: 5000, refill: 500/s}
///       trial: {capacity: 50, refill: 300/h, shadow: true}
enum LimitsFile {
    /// The fields of the top-level mapping.
    static let fields = ["default", "organizations"]

    /// Reads a limits file.
    ///
    /// - Parameter standard: the default limit if the file has none.
    /// - Throws: `SettingsError`, which names the file, the line and the field. An invalid file is rejected as a whole.
    static func read(_ path: String, standard: Limit) throws(SettingsError) -> Limits {
        let text: String
        do {
            text = try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            throw SettingsError(.limits, value: path, remedy: "the file cannot be read: \(readable(error))")
        }
        return try parse(text, path: path, standard: standard)
    }

    /// Parses the limits in a snapshot of a file.
    static func read(_ snapshot: WatchedFile.Snapshot, path: String, standard: Limit) throws(SettingsError) -> Limits {
        switch snapshot {
        case .unreadable(let reason):
            throw SettingsError(.limits, value: path, remedy: "the file cannot be read: \(reason)")
        case .contents(let data):
            guard let text = String(data: data, encoding: .utf8) else {
                throw SettingsError(.limits, value: path, remedy: "the file cannot be read: it is not UTF-8 text")
            }
            return try parse(text, path: path, standard: standard)
        }
    }

    /// Parses the text of a limits file.
    static func parse(_ text: String, path: String, standard: Limit) throws(SettingsError) -> Limits {
        let document = try YAMLDocument(path: path, text: text)
        guard !document.entries.isEmpty else {
            throw SettingsError(
                "\(path): the file is empty and may have been truncated: "
                    + "write default: {capacity: 100, refill: 10/s}, or organizations: {} for no limits")
        }
        var standard = standard
        var organizations: [String: Limit] = [:]
        for (key, value) in document.entries {
            switch key.string {
            case "default": standard = try limit(value, named: "default", in: document)
            case "organizations":
                for (key, value) in try mapping(value, named: "organizations", in: document) {
                    let name = try organization(key, in: document)
                    organizations[name] = try limit(value, named: "organizations.\(name)", in: document)
                }
            default:
                let name = key.string ?? "this"
                throw document.error(at: key, "\(name) is not a field here: use default and organizations")
            }
        }
        return Limits(standard: standard, byKey: organizations)
    }

    private static func mapping(
        _ node: Node, named name: String, in document: YAMLDocument
    ) throws(SettingsError) -> [(Node, Node)] {
        guard let mapping = node.mapping else {
            throw document.error(
                at: node,
                "\(name) must be a mapping, such as {acme: {capacity: 100, refill: 10/s}}, or {} for none")
        }
        return mapping.map { ($0.key, $0.value) }
    }

    private static func organization(_ node: Node, in document: YAMLDocument) throws(SettingsError) -> String {
        guard let name = node.scalar?.string, OrganizationName.isValid(name) else {
            let name = node.scalar?.string ?? "a nested value"
            throw document.error(
                at: node, "organizations: '\(name)' is not a name: use 1 to 128 characters of A-Z a-z 0-9 . _ : @ -")
        }
        return name
    }

    private static func limit(
        _ node: Node, named name: String, in document: YAMLDocument
    ) throws(SettingsError) -> Limit {
        guard let mapping = node.mapping else {
            throw document.error(at: node, "\(name) must be a limit, such as {capacity: 100, refill: 10/s}")
        }
        var fields: [LimitError.Field: (text: String, node: Node)] = [:]
        var isShadow = false
        for (key, value) in mapping {
            let text = value.scalar?.string ?? "a nested value"
            if let field = key.string.flatMap({ LimitError.Field(rawValue: $0) }) {
                guard let scalar = value.scalar else {
                    throw document.error(at: value, "\(name).\(field.rawValue) is a nested value: use a single value")
                }
                fields[field] = (scalar.string, value)
            } else if key.string == "shadow" {
                guard let flag = value.bool else {
                    throw document.error(at: value, "\(name).shadow is '\(text)': use true or false")
                }
                isShadow = flag
            } else {
                throw document.error(
                    at: key,
                    "\(name).\(key.string ?? "this") is not a field of a limit: "
                        + "use capacity, refill and shadow")
            }
        }
        guard fields[.capacity] != nil else { throw document.error(at: node, "\(name).capacity is missing") }
        guard fields[.refill] != nil || fields[.refillPerSecond] != nil else {
            throw document.error(at: node, "\(name).refill is missing")
        }
        do {
            return try Limit(
                capacity: fields[.capacity]?.text, refill: fields[.refill]?.text,
                refillPerSecond: fields[.refillPerSecond]?.text, isShadow: isShadow, standard: .standard)
        } catch {
            throw document.error(at: fields[error.field]?.node ?? node, "\(name).\(error)")
        }
    }
}

/// A short description of a file error.
func readable(_ error: any Error) -> String {
    switch (error as? CocoaError)?.code {
    case .fileReadNoSuchFile, .fileNoSuchFile: "there is no such file"
    case .fileReadNoPermission: "no permission"
    case .fileReadInapplicableStringEncoding, .fileReadCorruptFile: "it is not UTF-8 text"
    default: error.localizedDescription
    }
}
