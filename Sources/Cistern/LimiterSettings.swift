/// The settings of one limiter.
///
/// Any value can be stored; ``validate()`` rejects those outside their range. ``RateLimiter`` calls it.
public struct LimiterSettings: Sendable, Equatable {
    /// The maximum number of keys in memory, 1 to 10^9; a new key evicts an idle one.
    ///
    /// If no key is idle, the embedded store refuses the new key; with a shared store, the lease of another key is
    /// dropped, preferably that of a key not used recently.
    public var maximumBuckets = 1_000_000
    /// The maximum number of requests of one key that may wait for the store, 1 to 10^6; further ones are refused.
    public var maximumWaitersPerKey = 10_000
    /// The maximum number of new keys per second, up to 10^9; further new keys are denied.
    ///
    /// 0 means no maximum.
    ///
    /// A key is new if it is not in memory, as every key is after a start. The maximum protects the store and the keys
    /// in memory from clients that choose keys freely.
    public var maximumNewKeysPerSecond = 0
    /// How requests are decided while the store is unreachable.
    public var failurePolicy = FailurePolicy.open
    /// How much to lease and for how long, the store timeout, and the clock drift.
    ///
    /// Not used with the embedded store.
    public var lease = LeaseSettings()

    /// Creates the default settings, which suit most services.
    public init() {}

    /// Checks every setting.
    ///
    /// - Throws: ``InvalidSetting`` for the first value outside its range, or for times that contradict each other.
    public func validate() throws(InvalidSetting) {
        for field in Field.allCases where !(field.range ~= self[field]) {
            throw InvalidSetting(
                name: field.rawValue, value: "\(self[field])",
                remedy: "use a whole number from \(field.range.lowerBound) to \(field.range.upperBound)")
        }
        try lease.validate()
    }

    /// The numbers, by the names that configurations use.
    package enum Field: String, CaseIterable, Sendable {
        case maxBuckets
        case maxWaiters
        case maxNewKeysPerSecond

        package var range: ClosedRange<Int> {
            switch self {
            case .maxBuckets: 1...1_000_000_000
            case .maxWaiters: 1...1_000_000
            case .maxNewKeysPerSecond: 0...1_000_000_000
            }
        }
    }

    package subscript(field: Field) -> Int {
        get {
            switch field {
            case .maxBuckets: maximumBuckets
            case .maxWaiters: maximumWaitersPerKey
            case .maxNewKeysPerSecond: maximumNewKeysPerSecond
            }
        }
        set {
            switch field {
            case .maxBuckets: maximumBuckets = newValue
            case .maxWaiters: maximumWaitersPerKey = newValue
            case .maxNewKeysPerSecond: maximumNewKeysPerSecond = newValue
            }
        }
    }

    /// The same settings, each moved into its range.
    var bounded: LimiterSettings {
        var settings = self
        for field in Field.allCases { settings[field] = field.range.nearest(to: self[field]) }
        settings.lease = lease.bounded
        return settings
    }
}

extension ClosedRange {
    /// The value itself if it is inside, else the bound next to it.
    func nearest(to value: Bound) -> Bound { Swift.min(Swift.max(value, lowerBound), upperBound) }
}
