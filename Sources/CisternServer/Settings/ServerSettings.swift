package import Cistern
package import CisternAdmin
package import CisternHTTP
package import CisternRedis
package import Logging

/// The validated settings of one server.
package struct ServerSettings: Sendable {
    /// How to reach Redis.
    package struct Redis: Sendable {
        package var endpoints: [RedisEndpoint] = []
        package var topology = RedisTopology.ring
        package var settings = RedisSettings()
        /// The prefix of all Redis keys; servers share buckets only with those that use the same one.
        package var keyPrefix = StoreEnvironment.defaultNamespace
    }

    package var limits = Limits()
    /// The limit of organizations that the limits file does not list, unless the file has its own default.
    package var standard = Limit.standard
    /// The limits file; nil for none.
    package var limitsPath: String?
    package var limiter = LimiterSettings()
    package var http = HTTPSettings()
    /// The admin interface; nil if it is off.
    package var admin: AdminSettings?
    /// The Redis nodes; nil for the embedded store.
    package var redis: Redis?
    /// How long draining may take after SIGTERM, in milliseconds.
    package var drainTimeoutMilliseconds: Int64 = 10_000
    /// How long connections are still accepted after SIGTERM, in milliseconds.
    package var drainDelayMilliseconds: Int64 = 0
    /// Number of event loops; 0 means one per core.
    package var threads = 0
    package var logLevel = Logger.Level.info
    /// Setting values as written, by setting name; secrets are left out.
    package var written: [String: String] = [:]
    /// How many settings the settings file has.
    package var fileSettingCount = 0
    /// Environment variables that have the name of a setting but come from Kubernetes service links.
    package var ignoredVariables: [String] = []
    /// Files whose contents are part of these settings: certificates and keys.
    package var certificatePaths: [String] = []
}
