/// The limits of all keys: a default, limits by key, and overrides that take precedence over both.
public struct Limits: Sendable, Equatable {
    /// The limit of every key that has none of its own.
    public let standard: Limit
    /// Limits by the bytes of the key: two spellings that Unicode calls equal are two keys, as in the store.
    private let byKey: [[UInt8]: Limit]
    private var overrides: [[UInt8]: Limit] = [:]

    /// Creates a set of limits.
    ///
    /// - Parameters:
    ///   - standard: the limit of every key that is not in `byKey`.
    ///   - byKey: limits of single keys.
    public init(standard: Limit = .standard, byKey: [String: Limit] = [:]) {
        self.standard = standard
        self.byKey = Dictionary(uniqueKeysWithValues: byKey.map { (Array($0.utf8), $1) })
    }

    /// The same default and limits by key, with these overrides instead of the current ones.
    package func overridden(by overrides: [String: Limit]) -> Limits {
        var limits = self
        limits.overrides = Dictionary(uniqueKeysWithValues: overrides.map { (Array($0.utf8), $1) })
        return limits
    }

    /// The default and the limits by key of `other`, with the overrides of `self`.
    package func replaced(by other: Limits) -> Limits {
        var limits = other
        limits.overrides = overrides
        return limits
    }

    /// How many keys have a limit of their own, not counting overrides.
    public var keyCount: Int { byKey.count }

    /// How many keys have an override.
    public var overrideCount: Int { overrides.count }

    /// The source of a key's limit.
    package enum Source: String, Sendable, CaseIterable {
        /// The key has no limit of its own.
        case standard = "default"
        case file
        case override
    }

    /// The source of the limit of a key.
    package func source(of key: [UInt8]) -> Source {
        if overrides[key] != nil { return .override }
        return byKey[key] == nil ? .standard : .file
    }

    /// The keys whose limit differs in `other`; nil if the default differs, so that the limit of any key may differ.
    func changes(to other: Limits) -> Set<[UInt8]>? {
        guard standard == other.standard else { return nil }
        let names = [byKey.keys, overrides.keys, other.byKey.keys, other.overrides.keys]
        return names.reduce(into: []) { changed, keys in
            for name in keys where limit(of: name) != other.limit(of: name) { changed.insert(name) }
        }
    }

    /// The limit of the key with these UTF-8 bytes.
    ///
    /// Called once when a key enters the cache, not for each decision.
    package func limit(of key: Span<UInt8>) -> Limit {
        if byKey.isEmpty, overrides.isEmpty { return standard }
        return limit(of: key.withUnsafeBufferPointer { Array($0) })
    }

    /// The limit of the key with the bytes of an array.
    package func limit(of key: [UInt8]) -> Limit {
        overrides[key] ?? byKey[key] ?? standard
    }
}
