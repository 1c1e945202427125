/// Which limit holds for which organization: a default, exceptions by name, and what overrides both for now.
public struct Limits: Sendable, Equatable {
    /// The limit of every organization that has none of its own.
    public let standard: Limit
    /// By the bytes of the name: two spellings that Unicode calls equal are two organizations, here as in the store.
    private let byKey: [[UInt8]: Limit]
    private var overrides: [[UInt8]: Limit] = [:]

    /// Creates a set of limits.
    ///
    /// - Parameters:
    ///   - standard: the limit of every organization that is not named.
    ///   - byKey: limits of single organizations, by name.
    public init(standard: Limit = .standard, byKey: [String: Limit] = [:]) {
        self.standard = standard
        self.byKey = Dictionary(uniqueKeysWithValues: byKey.map { (Array($0.utf8), $1) })
    }

    /// The same limits with others in force for some organizations, instead of any such before.
    public func overridden(by overrides: [String: Limit]) -> Limits {
        var limits = self
        limits.overrides = Dictionary(uniqueKeysWithValues: overrides.map { (Array($0.utf8), $1) })
        return limits
    }

    /// The same default and exceptions as `other`, with the overrides of these.
    public func replaced(by other: Limits) -> Limits {
        var limits = other
        limits.overrides = overrides
        return limits
    }

    /// How many organizations have a limit of their own, overrides apart.
    public var keyCount: Int { byKey.count }

    /// How many organizations have a limit that overrides the others.
    public var overrideCount: Int { overrides.count }

    /// Where an organization's limit comes from.
    package enum Source: String, Sendable, CaseIterable {
        /// It has none of its own.
        case standard = "default"
        case file
        case override
    }

    /// Where the limit of an organization comes from.
    package func source(of key: [UInt8]) -> Source {
        if overrides[key] != nil { return .override }
        return byKey[key] == nil ? .standard : .file
    }

    /// Whose limit is another one in `other`: the names, or nil where it may be anyone's.
    func changes(to other: Limits) -> Set<[UInt8]>? {
        guard standard == other.standard else { return nil }
        let names = [byKey.keys, overrides.keys, other.byKey.keys, other.overrides.keys]
        return names.reduce(into: []) { changed, keys in
            for name in keys where limit(of: name) != other.limit(of: name) { changed.insert(name) }
        }
    }

    /// The limit of the organization whose name has these UTF-8 bytes.
    ///
    /// Called once when an organization enters the cache, not for each decision.
    package func limit(of key: Span<UInt8>) -> Limit {
        if byKey.isEmpty, overrides.isEmpty { return standard }
        return limit(of: key.withUnsafeBufferPointer { Array($0) })
    }

    /// The same for a name that is an array already.
    package func limit(of key: [UInt8]) -> Limit {
        overrides[key] ?? byKey[key] ?? standard
    }
}
