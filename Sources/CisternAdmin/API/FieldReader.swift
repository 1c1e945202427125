internal import Foundation
internal import HTTPTypes
internal import Hummingbird
internal import NIOCore

/// Reads the members of a JSON object in a request body; an error names the member, its value and the remedy.
struct FieldReader {
    /// The longest body, in bytes.
    static let maximumBytes = 1 << 16

    /// The maximum nesting depth of arrays and objects; a valid body has a depth of one.
    private static let deepestNesting = 16

    /// A JSON value; the contents of arrays and objects are not decoded.
    private enum Value: Decodable {
        case null
        case boolean(Bool)
        case integer(Int)
        case number(Double)
        case text(String)
        case list
        case object

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if container.decodeNil() {
                self = .null
            } else if let value = try? container.decode(Bool.self) {
                self = .boolean(value)
            } else if let value = try? container.decode(Int.self) {
                self = .integer(value)
            } else if let value = try? container.decode(Double.self) {
                self = .number(value)
            } else if let value = try? container.decode(String.self) {
                self = .text(value)
            } else {
                self = (try? decoder.unkeyedContainer()) == nil ? .object : .list
            }
        }

        var shown: String {
            switch self {
            case .null: "null"
            case .boolean(let value): "\(value)"
            case .integer(let value): "\(value)"
            case .number(let value): "\(value)"
            case .text(let value): value.utf8.count > 64 ? "a string of \(value.utf8.count) bytes" : "'\(value)'"
            case .list: "an array"
            case .object: "an object"
            }
        }
    }

    /// The members of an object, at most 16.
    private struct Members: Decodable {
        private struct Key: CodingKey {
            let stringValue: String
            var intValue: Int? { nil }

            init(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { nil }
        }

        let names: [String]
        let values: [String: Value]

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Key.self)
            let keys = container.allKeys.prefix(16)
            names = keys.map(\.stringValue).sorted()
            values = try keys.reduce(into: [:]) { $0[$1.stringValue] = try container.decode(Value.self, forKey: $1) }
        }
    }

    private let members: [String: Value]

    /// Reads the body of a request.
    ///
    /// - Parameter names: the allowed members; any other is an error instead of being ignored.
    init(_ request: Request, names: [String]) async throws {
        let type = request.headers[.contentType].map { $0.prefix { $0 != ";" }.lowercased() } ?? ""
        guard type.trimmingCharacters(in: .whitespaces) == "application/json" else {
            throw Problem(.unsupportedMediaType, "Content-Type is '\(type)': use application/json")
        }
        var request = request
        let body = try await request.collectBody(upTo: Self.maximumBytes)
        let bytes = Array(body.readableBytesView)
        guard Self.nesting(of: bytes) <= Self.deepestNesting else {
            throw Problem(
                .badRequest, "the body is nested deeper than \(Self.deepestNesting) levels: use a flat object")
        }
        let read: Members
        do {
            let value = try JSONDecoder().decode(Value.self, from: Data(bytes))
            guard case .object = value else {
                throw Problem(
                    .badRequest, "the body is \(value.shown): use an object with \(names.joined(separator: ", "))")
            }
            read = try JSONDecoder().decode(Members.self, from: Data(bytes))
        } catch let problem as Problem {
            throw problem
        } catch {
            throw Problem(.badRequest, "the body is not valid JSON, or has a number that is too large: correct it")
        }
        for name in read.names where !names.contains(name) {
            throw Problem(
                .badRequest, "\(name.prefix(64)) is not a known member: use \(names.joined(separator: ", "))")
        }
        members = read.values
    }

    /// The nesting depth of arrays and objects, from one pass over the bytes, which need not be valid JSON.
    private static func nesting(of bytes: [UInt8]) -> Int {
        var (depth, deepest, isInText, isEscaped) = (0, 0, false, false)
        for byte in bytes {
            if isEscaped {
                isEscaped = false
            } else if isInText {
                isEscaped = byte == UInt8(ascii: "\\")
                isInText = byte != UInt8(ascii: "\"")
            } else if byte == UInt8(ascii: "\"") {
                isInText = true
            } else if byte == UInt8(ascii: "[") || byte == UInt8(ascii: "{") {
                depth += 1
                deepest = max(deepest, depth)
            } else if byte == UInt8(ascii: "]") || byte == UInt8(ascii: "}") {
                depth -= 1
            }
        }
        return deepest
    }

    /// Whether the object has no members.
    var isEmpty: Bool { members.isEmpty }

    /// A whole number of milliseconds; nil if the field is missing or null.
    func milliseconds(_ name: String, in range: ClosedRange<Int64>) throws(Problem) -> Int64? {
        try integer(name, in: Int(range.lowerBound)...Int(range.upperBound)).map { Int64($0) }
    }

    /// A whole number in a range; nil if the member is missing or null.
    func integer(_ name: String, in range: ClosedRange<Int>) throws(Problem) -> Int? {
        switch members[name] {
        case nil, .null: return nil
        case .integer(let value) where range ~= value: return value
        case .some(let value):
            throw Self.wrong(
                name, value, "use a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
    }

    /// A number, whose range the caller checks; nil if the member is missing or null.
    func number(_ name: String, remedy: String) throws(Problem) -> Double? {
        switch members[name] {
        case nil, .null: return nil
        case .integer(let value): return Double(value)
        case .number(let value): return value
        case .some(let value): throw Self.wrong(name, value, remedy)
        }
    }

    /// A text; nil if the member is missing or null.
    func text(_ name: String, remedy: String) throws(Problem) -> String? {
        switch members[name] {
        case nil, .null: return nil
        case .text(let value): return value
        case .some(let value): throw Self.wrong(name, value, remedy)
        }
    }

    /// A Boolean; nil if the member is missing or null.
    func boolean(_ name: String) throws(Problem) -> Bool? {
        switch members[name] {
        case nil, .null: return nil
        case .boolean(let value): return value
        case .some(let value): throw Self.wrong(name, value, "use true or false")
        }
    }

    private static func wrong(_ name: String, _ value: Value, _ remedy: String) -> Problem {
        Problem(.badRequest, "\(name) is \(value.shown): \(remedy)")
    }
}
