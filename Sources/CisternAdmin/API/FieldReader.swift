internal import Foundation
internal import HTTPTypes
internal import Hummingbird
internal import NIOCore

/// The members of a request's body, a JSON object, read one at a time; what is wrong is named.
struct FieldReader {
    /// The longest body.
    static let maximumBytes = 1 << 16

    /// Any JSON value, as far as it matters here.
    private enum Value: Decodable {
        case null
        case boolean(Bool)
        case integer(Int)
        case number(Double)
        case text(String)
        case list
        case object([String: Value])

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
            } else if let value = try? container.decode([String: Value].self) {
                self = .object(value)
            } else {
                _ = try container.decode([Value].self)
                self = .list
            }
        }

        var shown: String {
            switch self {
            case .null: "null"
            case .boolean(let value): "\(value)"
            case .integer(let value): "\(value)"
            case .number(let value): "\(value)"
            case .text(let value): value.utf8.count > 64 ? "a text of \(value.utf8.count) bytes" : "'\(value)'"
            case .list: "a list"
            case .object: "an object"
            }
        }
    }

    private let members: [String: Value]

    /// Reads the body of a request.
    ///
    /// - Parameter names: the members that there may be; any other is an error, since it would be passed over.
    init(_ request: Request, names: [String]) async throws {
        let type = request.headers[.contentType].map { $0.prefix { $0 != ";" }.lowercased() } ?? ""
        guard type.trimmingCharacters(in: .whitespaces) == "application/json" else {
            throw Problem(.unsupportedMediaType, "Content-Type is '\(type)': use application/json")
        }
        var request = request
        let body = try await request.collectBody(upTo: Self.maximumBytes)
        let value: Value
        do {
            value = try JSONDecoder().decode(Value.self, from: Data(body.readableBytesView))
        } catch {
            throw Problem(.badRequest, "the body is not valid JSON, or has a number that is too large: correct it")
        }
        guard case .object(let members) = value else {
            throw Problem(
                .badRequest, "the body is \(value.shown): use an object with \(names.joined(separator: ", "))")
        }
        for name in members.keys.sorted() where !names.contains(name) {
            throw Problem(
                .badRequest, "\(name.prefix(64)) is not a member here: use \(names.joined(separator: ", "))")
        }
        self.members = members
    }

    /// Whether the body says nothing.
    var isEmpty: Bool { members.isEmpty }

    /// A whole number in a range; nil where the member is missing or null.
    func integer(_ name: String, in range: ClosedRange<Int>) throws(Problem) -> Int? {
        switch members[name] {
        case nil, .null: return nil
        case .integer(let value) where range ~= value: return value
        case .some(let value):
            throw Self.wrong(
                name, value, "use a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
    }

    /// A number; its range is its user's to check.
    func number(_ name: String, remedy: String) throws(Problem) -> Double? {
        switch members[name] {
        case nil, .null: return nil
        case .integer(let value): return Double(value)
        case .number(let value): return value
        case .some(let value): throw Self.wrong(name, value, remedy)
        }
    }

    /// True or false.
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
