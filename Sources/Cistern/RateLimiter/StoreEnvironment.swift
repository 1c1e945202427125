/// What a limiter gives to the store that it makes.
///
/// The store uses the limiter's clock and settings, so the two cannot disagree about time, drift or failure policy.
public struct StoreEnvironment: Sendable {
    /// The clock of all decisions: replies and reachability are stamped with it.
    ///
    /// Each limiter's clock has its own origin, so it must not be the time of buckets that limiters share.
    public let clock: any TimeSource
    /// The name under which the store records this limiter's leases; unique to each run.
    public let lesseeID: String
    /// Separates limiters with different purposes: only limiters with the same namespace share buckets.
    public let namespace: String
    /// The limiter's settings, such as the failure policy and the clock drift.
    public let settings: LimiterSettings

    /// The namespace of a limiter that names none, and the prefix of its Redis keys: `ratelimit`.
    public static let defaultNamespace = "ratelimit"

    /// Creates an environment, for tests of a store and for users of ``RateLimiterEngine``.
    public init(
        clock: any TimeSource, lesseeID: String = Self.uniqueLesseeID(), namespace: String = Self.defaultNamespace,
        settings: LimiterSettings = LimiterSettings()
    ) {
        self.clock = clock
        self.lesseeID = lesseeID
        self.namespace = namespace
        self.settings = settings
    }

    /// Host, process ID and 64 random bits, in at most 60 bytes: Redis keeps a hash compact up to 64-byte fields.
    public static func uniqueLesseeID() -> String {
        let run = "\(HostSystem.processID)-\(String(UInt64.random(in: 0 ... .max), radix: 16))"
        let host = HostSystem.hostName.prefix(24)
        return host.isEmpty ? run : "\(host)-\(run)"
    }

    /// Checks a namespace: 1 to 64 letters, digits, `-`, `_` or `.`.
    ///
    /// A colon ends the namespace in Redis keys, so no two namespaces have a key in common.
    ///
    /// - Throws: ``InvalidSetting`` with the name `namespace`.
    public static func validate(namespace: String) throws(InvalidSetting) {
        let isValid = namespace.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                true
            default: false
            }
        }
        guard isValid, 1...64 ~= namespace.utf8.count else {
            throw InvalidSetting(
                name: "namespace", value: "\"\(namespace.prefix(80))\"",
                remedy: "use 1 to 64 letters, digits, hyphens, underscores or dots")
        }
    }
}
