#if Configuration
    public import Configuration

    extension RateLimiter {
        /// Creates a limiter from a configuration.
        ///
        /// It reads what ``Limit/init(config:)`` and ``LimiterSettings/init(config:)`` read, and `keyPrefix`, the
        /// namespace. Describe the store with `SharedStore.redis(config)`.
        ///
        /// - Throws: ``InvalidSetting``, or the store's error.
        public convenience init(
            config: ConfigReader, store: SharedStore? = nil, clock: (any TimeSource)? = nil
        ) throws {
            let namespace = try config.text("keyPrefix") ?? StoreEnvironment.defaultNamespace
            do {
                try StoreEnvironment.validate(namespace: namespace)
            } catch {
                throw InvalidSetting(name: "keyPrefix", value: error.value, remedy: error.remedy)
            }
            try self.init(
                limit: Limit(config: config), store: store, namespace: namespace,
                settings: LimiterSettings(config: config), clock: clock)
        }
    }

    extension Limit {
        /// Reads `capacity` (tokens) and `refill` from a configuration; the defaults are 100 and `10/s`.
        ///
        /// A number of tokens a second, `refillPerSecond`, may take the place of `refill`.
        ///
        /// - Throws: ``InvalidSetting``.
        public init(config: ConfigReader) throws(InvalidSetting) {
            let (capacity, refill) = (try config.text("capacity"), try config.text("refill"))
            let refillPerSecond = try config.text("refillPerSecond")
            do {
                try self.init(
                    capacity: capacity, refill: refill, refillPerSecond: refillPerSecond, standard: .standard)
            } catch {
                throw InvalidSetting(name: error.field.rawValue, value: error.value, remedy: error.remedy)
            }
        }
    }

    extension LimiterSettings {
        /// Reads the settings from a configuration; a setting that it does not have keeps its default.
        ///
        /// The names are those of the server's settings: `onStoreFailure` (`open`, `closed` or `local`), `maxBuckets`,
        /// `maxWaiters`, `maxNewKeysPerSecond`, and those of ``LeaseSettings/init(config:)``.
        ///
        /// - Throws: ``InvalidSetting`` for the first value that is not valid. It never falls back to a default.
        public init(config: ConfigReader) throws(InvalidSetting) {
            self.init()
            for field in Field.allCases {
                if let number = try config.integer(field.rawValue) { self[field] = Int(number) }
            }
            if let text = try config.text("onStoreFailure") {
                guard let policy = FailurePolicy(rawValue: text) else {
                    let names = FailurePolicy.allCases.map(\.rawValue).joined(separator: ", ")
                    throw InvalidSetting(name: "onStoreFailure", value: text, remedy: "use one of \(names)")
                }
                failurePolicy = policy
            }
            lease = try LeaseSettings(config: config)
            try validate()
        }
    }

    extension LeaseSettings {
        /// Reads the settings from a configuration; a setting that it does not have keeps its default.
        ///
        /// Times have a unit: `leaseDuration`, `leaseHorizon`, `leasePrefetch`, `leaseIdle`, `leaseDemandRise`,
        /// `leaseDemandFall` and `storeTimeout`, such as `250ms` or `2s`. Numbers: `leaseMinimum`
        /// (``minimumDemandTokens``), `leaseAlone` (``soloMultiplier``), `leaseCallsPerSecond` (``callsPerSecond``) and
        /// `clockDrift` (``clockDriftPerMille``).
        ///
        /// - Throws: ``InvalidSetting`` for the first value that is not valid. It never falls back to a default.
        public init(config: ConfigReader) throws(InvalidSetting) {
            self.init()
            for field in Field.allCases {
                let number = try field.isTime ? config.milliseconds(field.rawValue) : config.integer(field.rawValue)
                if let number { self[field] = number }
            }
            try validate()
        }
    }

    extension ConfigReader {
        /// A value as text, whatever its type in the configuration; nil if there is none.
        ///
        /// - Throws: `InvalidSetting` for a value that is neither text nor a number.
        package func text(_ name: String, isSecret: Bool = false) throws(InvalidSetting) -> String? {
            let key = ConfigKey([name])
            if let text = string(forKey: key, isSecret: isSecret) { return text }
            if let number = int(forKey: key, isSecret: isSecret) { return "\(number)" }
            if let number = double(forKey: key, isSecret: isSecret) { return "\(number)" }
            // A missing value is a wrong one only if another type would read it.
            let hasOtherType =
                bool(forKey: key, isSecret: isSecret) != nil || stringArray(forKey: key, isSecret: isSecret) != nil
                || intArray(forKey: key, isSecret: isSecret) != nil
                || doubleArray(forKey: key, isSecret: isSecret) != nil
            guard !hasOtherType else {
                throw InvalidSetting(name: name, value: "no text or number", remedy: "use a single text or number")
            }
            return nil
        }

        /// A whole number; nil if there is none.
        package func integer(_ name: String) throws(InvalidSetting) -> Int64? {
            guard let text = try text(name) else { return nil }
            guard let number = Int64(text) else {
                throw InvalidSetting(name: name, value: text, remedy: "use a whole number")
            }
            return number
        }

        /// A time in milliseconds, written with its unit; nil if there is none.
        package func milliseconds(_ name: String) throws(InvalidSetting) -> Int64? {
            guard let text = try text(name) else { return nil }
            guard let milliseconds = Duration.wholeMilliseconds(in: text) else {
                throw InvalidSetting(name: name, value: text, remedy: "use a time such as 250ms, 2s, 1m or 1h")
            }
            return milliseconds
        }
    }
#endif
