#if Configuration
    public import Cistern
    public import Configuration
    public import Logging

    extension SharedStore {
        /// A store in Redis that a configuration describes.
        ///
        /// It reads `redis` (one URL or several, separated by commas; secret), `topology` (`ring` or `cluster`),
        /// `redisUser` and `redisPassword` (secret) for URLs without them, and what ``RedisSettings/init(config:)``
        /// reads.
        ///
        /// - Returns: nil if `redis` is not set, so that the limiter keeps its buckets in memory.
        /// - Throws: `InvalidSetting`. A URL that is not valid is an error of the limiter's initializer.
        public static func redis(
            _ config: ConfigReader, logger: Logger = Logger(label: "cistern")
        ) throws(InvalidSetting) -> SharedStore? {
            guard let text = try config.text("redis", isSecret: true) else { return nil }
            let name = try config.text("topology") ?? RedisTopology.ring.rawValue
            guard let topology = RedisTopology(rawValue: name) else {
                throw InvalidSetting(name: "topology", value: name, remedy: "use ring or cluster")
            }
            let settings = try RedisSettings(config: config)
            let username = try config.text("redisUser")
            let password = try config.text("redisPassword", isSecret: true)
            if let username, password == nil {
                throw InvalidSetting(name: "redisUser", value: username, remedy: "set redisPassword as well")
            }
            return SharedStore { environment in
                let endpoints = try RedisEndpoint.urls(in: text).map { url in
                    try RedisEndpoint(url: url).withCredentials(by: username, with: password)
                }
                return try RedisStore(
                    endpoints: endpoints, topology: topology, settings: settings, environment: environment,
                    logger: logger)
            }
        }
    }

    extension RedisSettings {
        /// Reads the settings from a configuration; a setting that it does not have keeps its default.
        ///
        /// Times have a unit: `redisConnectTimeout`, `redisFirstRetry`, `redisLongestRetry` and `redisHeartbeat`, such
        /// as `2s`. Numbers: `maxStoreRequests` (``maximumPendingRequests``) and `recoveryRequests`
        /// (``firstRequestsAfterRecovery``). Set ``tls`` in code.
        ///
        /// - Throws: `InvalidSetting` for the first value that is not valid. It never falls back to a default.
        public init(config: ConfigReader) throws(InvalidSetting) {
            self.init()
            if let time = try config.milliseconds("redisConnectTimeout") { connectTimeoutMilliseconds = time }
            if let time = try config.milliseconds("redisFirstRetry") { firstRetryMilliseconds = time }
            if let time = try config.milliseconds("redisLongestRetry") { longestRetryMilliseconds = time }
            if let time = try config.milliseconds("redisHeartbeat") { heartbeatMilliseconds = time }
            if let number = try config.integer("maxStoreRequests") { maximumPendingRequests = Int(number) }
            if let number = try config.integer("recoveryRequests") { firstRequestsAfterRecovery = Int(number) }
            try validate()
        }
    }
#endif
