/// Which limit holds for which organisation: a default, exceptions by name, and what overrides both for now.
public struct Limits: Sendable, Equatable {
    /// The limit of every organisation that has none of its own.
    public let standard: Limit
    /// By the bytes of the name: two spellings that Unicode calls equal are two organisations, here as in the store.
    private let organizations: [[UInt8]: Limit]
    private var overrides: [[UInt8]: Limit] = [:]

    /// Creates a set of limits.
    ///
    /// - Parameters:
    ///   - standard: the limit of every organisation that is not named.
    ///   - organizations: limits of single organisations, by name.
    public init(standard: Limit = .standard, organizations: [String: Limit] = [:]) {
        self.standard = standard
        self.organizations = Dictionary(uniqueKeysWithValues: organizations.map { (Array($0.utf8), $1) })
    }

    /// The same limits with others in force for some organisations, instead of any such before.
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

    /// How many organisations have a limit of their own, overrides apart.
    public var organizationCount: Int { organizations.count }

    /// How many organisations have a limit that overrides the others.
    public var overrideCount: Int { overrides.count }

    /// Where an organisation's limit comes from.
    package enum Source: String, Sendable, CaseIterable {
        /// It has none of its own.
        case standard = "default"
        case file
        case override
    }

    /// Where the limit of an organisation comes from.
    package func source(of organization: [UInt8]) -> Source {
        if overrides[organization] != nil { return .override }
        return organizations[organization] == nil ? .standard : .file
    }

    /// Whose limit is another one in `other`: the names, or nil where it may be anyone's.
    func changes(to other: Limits) -> Set<[UInt8]>? {
        guard standard == other.standard else { return nil }
        let names = [organizations.keys, overrides.keys, other.organizations.keys, other.overrides.keys]
        return names.reduce(into: []) { changed, keys in
            for name in keys where limit(of: name) != other.limit(of: name) { changed.insert(name) }
        }
    }

    /// The limit of the organisation whose name has these UTF-8 bytes.
    ///
    /// Called once when an organisation enters the cache, not for each decision.
    package func limit(of organization: Span<UInt8>) -> Limit {
        if organizations.isEmpty, overrides.isEmpty { return standard }
        return limit(of: organization.withUnsafeBufferPointer { Array($0) })
    }

    /// The same for a name that is an array already.
    package func limit(of organization: [UInt8]) -> Limit {
        overrides[organization] ?? organizations[organization] ?? standard
    }
}
