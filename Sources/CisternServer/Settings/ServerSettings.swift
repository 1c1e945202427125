package import Cistern
package import CisternAdmin
package import CisternHTTP
package import CisternRedis
package import Logging

/// Everything that makes up one server, checked.
package struct ServerSettings: Sendable {
    /// How to reach Redis; nil for the embedded store.
    package struct Redis: Sendable {
        package var endpoints: [RedisEndpoint] = []
        package var topology = RedisTopology.ring
        package var settings = RedisSettings()
    }

    package var limits = Limits()
    /// The limit of organizations that the limits file says nothing of, unless that has a default.
    package var standard = Limit.standard
    /// The limits file; nil for none.
    package var limitsPath: String?
    package var limiter = LimiterSettings()
    package var http = HTTPSettings()
    /// The operators' plane; nil for none.
    package var admin: AdminSettings?
    package var redis: Redis?
    /// How long draining may take after SIGTERM, in milliseconds.
    package var drainTimeoutMilliseconds: Int64 = 10_000
    /// How long connections are still accepted after SIGTERM, in milliseconds.
    package var drainDelayMilliseconds: Int64 = 0
    /// Event loops; 0 is one for each core.
    package var threads = 0
    package var logLevel = Logger.Level.info
    /// What is set, as it was written, by the names of settings; without secrets.
    package var written: [String: String] = [:]
    /// How many settings the settings file has.
    package var fileSettingCount = 0
    /// Environment variables that are not settings of ours although they are named so.
    package var ignoredVariables: [String] = []
    /// Files whose contents are part of these settings: certificates and keys.
    package var certificatePaths: [String] = []
}
