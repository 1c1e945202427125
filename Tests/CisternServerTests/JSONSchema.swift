import Foundation

/// Checks JSON values against the schemas of an OpenAPI document.
///
/// Supports only the part of JSON Schema that the document uses.
struct JSONSchema {
    private let document: [String: Any]

    init(document: [String: Any]) {
        self.document = document
    }

    /// Returns the violations in a value, each with its path; an empty array if the value is valid.
    func violations(of value: Any, by schema: [String: Any], at path: String = "$") -> [String] {
        if let reference = schema["$ref"] as? String {
            return violations(of: value, by: resolve(reference), at: path)
        }
        if let options = schema["oneOf"] as? [[String: Any]] {
            let fitting = options.count { violations(of: value, by: $0, at: path).isEmpty }
            return fitting == 1 ? [] : ["\(path): matches \(fitting) schemas of oneOf"]
        }
        var found: [String] = []
        if let type = schema["type"] {
            let types = type as? [String] ?? [type as? String ?? ""]
            if !types.contains(where: { Self.has(value, type: $0) }) {
                found.append("\(path): is not \(types): \(value)")
            }
        }
        if let allowed = schema["enum"] as? [String], let text = value as? String, !allowed.contains(text) {
            found.append("\(path): \(text) is not one of \(allowed)")
        }
        if let object = value as? [String: Any] { found += violations(of: object, by: schema, at: path) }
        if let list = value as? [Any], let items = schema["items"] as? [String: Any] {
            for (index, item) in list.enumerated() { found += violations(of: item, by: items, at: "\(path)[\(index)]") }
        }
        return found
    }

    private func violations(of object: [String: Any], by schema: [String: Any], at path: String) -> [String] {
        let properties = schema["properties"] as? [String: [String: Any]] ?? [:]
        var found = (schema["required"] as? [String] ?? []).filter { object[$0] == nil }.map { "\(path): lacks \($0)" }
        for (name, value) in object {
            if let property = properties[name] {
                found += violations(of: value, by: property, at: "\(path).\(name)")
            } else if schema["additionalProperties"] as? Bool == false {
                found.append("\(path): has \(name), which the schema does not allow")
            }
        }
        return found
    }

    /// The part of the document that a reference names.
    func resolve(_ reference: String) -> [String: Any] {
        reference.split(separator: "/").dropFirst().reduce(document) { part, name in
            part[String(name)] as? [String: Any] ?? [:]
        }
    }

    private static func has(_ value: Any, type: String) -> Bool {
        let number = value as? NSNumber
        let isBoolean = value is Bool && number.map { "\($0.objCType.pointee)" == "99" } ?? true
        switch type {
        case "null": return value is NSNull
        case "boolean": return isBoolean
        case "integer": return number.map { !isBoolean && $0.doubleValue == $0.doubleValue.rounded() } ?? false
        case "number": return number != nil && !isBoolean
        case "string": return value is String
        case "array": return value is [Any]
        case "object": return value is [String: Any]
        default: return false
        }
    }
}
