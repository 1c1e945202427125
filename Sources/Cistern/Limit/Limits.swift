/// Which limit holds for which organisation: a default, and exceptions by name.
public struct Limits: Sendable, Equatable {
    /// The limit of every organisation that has none of its own.
    public let standard: Limit
    /// By the bytes of the name: two spellings that Unicode calls equal are two organisations, here as in the store.
    private let organizations: [[UInt8]: Limit]

    /// Creates a set of limits.
    ///
    /// - Parameters:
    ///   - standard: the limit of every organisation that is not named.
    ///   - organizations: limits of single organisations, by name.
    public init(standard: Limit = .standard, organizations: [String: Limit] = [:]) {
        self.standard = standard
        self.organizations = Dictionary(uniqueKeysWithValues: organizations.map { (Array($0.utf8), $1) })
    }

    /// How many organisations have a limit of their own.
    public var organizationCount: Int { organizations.count }

    /// The limit of the organisation whose name has these UTF-8 bytes.
    ///
    /// Called once when an organisation enters the cache, not for each decision.
    package func limit(of organization: Span<UInt8>) -> Limit {
        if organizations.isEmpty { return standard }
        return limit(of: organization.withUnsafeBufferPointer { Array($0) })
    }

    /// The same for a name that is an array already.
    package func limit(of organization: [UInt8]) -> Limit {
        organizations[organization] ?? standard
    }
}
