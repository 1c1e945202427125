/// One setting of the server: what it is called everywhere, what it is without being set, and what it does.
///
/// This list is the one place where settings are documented; help, README and checks follow it.
package struct Setting: Sendable, Equatable {
    /// The name in a settings file, in camel case.
    package let name: String
    /// What stands for the value in help texts.
    package let placeholder: String
    /// The value without a setting, as it would be written; nil for none.
    package let standard: String?
    /// What it does, with unit and range.
    package let help: String

    /// Whether the value may be shown nowhere.
    ///
    /// URLs may hold a password, too.
    package var isSecret: Bool { self == .redisPassword || self == .redis }

    /// Whether there is a flag for it: what stands on a command line is seen in `ps`.
    package var hasFlag: Bool { self != .redisPassword }

    /// The flag of the command: the name in kebab case.
    package var flag: String { "--" + name.separated(by: "-").lowercased() }

    /// The environment variable: the name in upper snake case behind `CISTERN_`.
    package var variable: String { "CISTERN_" + name.separated(by: "_").uppercased() }
}

extension Setting {
    static let host = Setting(
        name: "host", placeholder: "address", standard: "127.0.0.1", help: "Address or name to listen on.")
    static let port = Setting(
        name: "port", placeholder: "port", standard: "8080",
        help: "TCP port to listen on, 0 to 65535; 0 takes a free one.")
    static let adminHost = Setting(
        name: "adminHost", placeholder: "address", standard: "127.0.0.1",
        help: """
            Address or name that the operators' plane listens on. One that others can reach needs adminTokenFile.
            """)
    static let adminPort = Setting(
        name: "adminPort", placeholder: "port", standard: "8081",
        help: "TCP port of the operators' plane, 0 to 65535; 0 takes a free one, off does without the plane.")
    static let adminTokenFile = Setting(
        name: "adminTokenFile", placeholder: "file", standard: nil,
        help: """
            File with who may use the operators' plane: a line NAME:SECRET for each, the secret of 16 visible characters or \
            more. Read anew at SIGHUP. Without it everybody on this machine may.
            """)
    static let redis = Setting(
        name: "redis", placeholder: "url", standard: nil,
        help: """
            Redis nodes that servers share, as a list or with commas: redis://[[user]:password@]host[:port][/database], or \
            rediss:// for TLS, each with ?weight=2 for twice the share of a ring and ?name=a for a name that outlives its \
            address. Without it the buckets are kept in this process.
            """)
    static let topology = Setting(
        name: "topology", placeholder: "kind", standard: "ring",
        help: """
            What the nodes are: ring for nodes that know nothing of each other, cluster for a Redis Cluster, of which redis \
            names one node or more.
            """)
    static let redisUser = Setting(
        name: "redisUser", placeholder: "name", standard: nil,
        help: "ACL user to log in as, for the nodes whose URL has none.")
    static let redisPassword = Setting(
        name: "redisPassword", placeholder: "password", standard: nil,
        help: """
            Password for the nodes whose URL has none. There is no flag for it, which would show in ps.
            """)
    static let redisPasswordFile = Setting(
        name: "redisPasswordFile", placeholder: "file", standard: nil,
        help: "File whose first line is that password.")
    static let redisCaFile = Setting(
        name: "redisCaFile", placeholder: "file", standard: nil,
        help: "PEM file with the certificates trusted for rediss://; the system's unless set.")
    static let redisCertFile = Setting(
        name: "redisCertFile", placeholder: "file", standard: nil,
        help: "PEM file with the certificate, and what signed it, that this server shows to rediss:// nodes.")
    static let redisKeyFile = Setting(
        name: "redisKeyFile", placeholder: "file", standard: nil, help: "PEM file with the key of that certificate.")
    static let redisServerName = Setting(
        name: "redisServerName", placeholder: "name", standard: nil,
        help: "Name that the nodes' certificates must be for; the host in the URL unless set.")
    static let redisVerify = Setting(
        name: "redisVerify", placeholder: "what", standard: "name",
        help: "What is checked of a node's certificate: name for signature and name, signature for that alone.")
    static let capacity = Setting(
        name: "capacity", placeholder: "tokens", standard: "100",
        help: "Burst of an organization without a limit of its own, 1 to 1000000000 tokens.")
    static let refillPerSecond = Setting(
        name: "refillPerSecond", placeholder: "tokens/s", standard: "10",
        help: "Its refill rate, 0.001 to 1000000000 tokens a second, with at most three decimals.")
    static let limits = Setting(
        name: "limits", placeholder: "file", standard: nil,
        help: "YAML file with limits of single organizations; its default replaces capacity and refillPerSecond.")
    static let onStoreFailure = Setting(
        name: "onStoreFailure", placeholder: "policy", standard: "open",
        help: """
            What to do while an organization's node is out of reach: open lets requests through uncounted, closed answers \
            503, local goes on at this server's part of the limit.
            """)
    static let leaseDuration = Setting(
        name: "leaseDuration", placeholder: "time", standard: "2s",
        help: """
            How long leased tokens last, 100ms to 60s. Longer strands the tokens of a server that falls silent for \
            longer; shorter loses those of an organization that pauses sooner.
            """)
    static let leaseHorizon = Setting(
        name: "leaseHorizon", placeholder: "time", standard: "250ms",
        help: """
            How much demand one lease covers, 10ms to 10s and at most half of leaseDuration. Longer means fewer store \
            calls and more tokens at servers that may not need them.
            """)
    static let leaseMinimum = Setting(
        name: "leaseMinimum", placeholder: "tokens", standard: "5",
        help: """
            Demand over the horizon below which nothing is leased ahead, 1 to 1000000 tokens. Higher keeps more \
            organizations exact, at a store call for each shortage.
            """)
    static let leasePrefetch = Setting(
        name: "leasePrefetch", placeholder: "time", standard: "20ms",
        help: """
            How long before it runs dry a lease is renewed, 0ms to 5s and at most half of leaseHorizon; it should cover \
            the round trip to Redis. Longer lets fewer requests wait, and uses each lease for less of its time.
            """)
    static let leaseIdle = Setting(
        name: "leaseIdle", placeholder: "time", standard: "250ms",
        help: """
            How long an organization may be silent before its tokens go back to Redis, 10ms to 60s. Shorter brings them \
            sooner to where they are needed; longer saves store calls for organizations that come and go.
            """)
    static let leaseAlone = Setting(
        name: "leaseAlone", placeholder: "factor", standard: "2",
        help: """
            How many horizons at once a server may lease that is the only one to ask, 1 to 8. Higher means fewer store \
            calls, and a longer wait for its share when a second server comes.
            """)
    static let leaseDemandRise = Setting(
        name: "leaseDemandRise", placeholder: "time", standard: "200ms",
        help: """
            Memory of the average that stands for demand while demand rises, 1ms to 10s. Shorter means fewer store calls \
            at the start of a burst, and more tokens leased for what was none.
            """)
    static let leaseDemandFall = Setting(
        name: "leaseDemandFall", placeholder: "time", standard: "250ms",
        help: """
            Its memory while demand falls, 1ms to 60s. Longer means fewer store calls when a pause ends, and shares that \
            follow demand more slowly.
            """)
    static let clockDrift = Setting(
        name: "clockDrift", placeholder: "thousandths", standard: "20",
        help: """
            How much faster or slower than Redis's clock this server's may run, 0 to 200 thousandths. Higher bears worse \
            clocks, and uses each lease for less of its time; below the true drift the limit may be exceeded.
            """)
    static let storeTimeout = Setting(
        name: "storeTimeout", placeholder: "time", standard: "100ms",
        help: """
            How long a request waits for Redis before the failure policy decides, 5ms to 10s; at least twice the \
            slowest round trip that is normal, and at most half of leaseDuration.
            """)
    static let maxBuckets = Setting(
        name: "maxBuckets", placeholder: "count", standard: "1000000",
        help: """
            Organizations kept in memory, 1 to 1000000000. One more makes an idle one go; where none is idle it is \
            refused with 503 (embedded store) or takes the place of another's lease (Redis).
            """)
    static let maxNewKeysPerSecond = Setting(
        name: "maxNewKeysPerSecond", placeholder: "count", standard: "0",
        help: """
            Organizations that are not in memory which are taken in a second, 1 to 1000000000; more are answered 429. 0 for \
            any number. It bounds what callers with a free choice of names can make Redis hold. A server that starts knows none.
            """)
    static let maxWaiters = Setting(
        name: "maxWaiters", placeholder: "count", standard: "10000",
        help: "Requests of one organization that may wait for Redis, 1 to 1000000; more are refused with 503.")
    static let maxStoreRequests = Setting(
        name: "maxStoreRequests", placeholder: "count", standard: "10000",
        help: "Lease requests that may wait for one node, 1 to 1000000; for more the failure policy decides at once.")
    static let recoveryRequests = Setting(
        name: "recoveryRequests", placeholder: "count", standard: "1000",
        help: """
            Lease requests that a node gets in the first tenth of a second after it has come back, 1 to 1000000; twice as \
            many in each of the next four, and then all. For the others the failure policy decides.
            """)
    static let maxConnections = Setting(
        name: "maxConnections", placeholder: "count", standard: "10000",
        help: "Open HTTP connections, 1 to 1000000; one more is answered 503 and closed.")
    static let requestTimeout = Setting(
        name: "requestTimeout", placeholder: "time", standard: "30s",
        help: """
            How long the rest of a request may take to arrive once its head has, 100ms to 10m; a slower one is answered \
            408.
            """)
    static let idleTimeout = Setting(
        name: "idleTimeout", placeholder: "time", standard: "75s",
        help: "How long a connection may stay open without the complete head of a request, 100ms to 1h.")
    static let maxConnectionAge = Setting(
        name: "maxConnectionAge", placeholder: "time", standard: "10m",
        help: """
            How old an HTTP connection may get before an answer closes it, 0s to 24h, give or take a tenth; 0s for any age. \
            Shorter: clients spread sooner over servers that are new, and connect more often.
            """)
    static let maxBodyBuffer = Setting(
        name: "maxBodyBuffer", placeholder: "bytes", standard: "67108864",
        help: """
            Bytes of request bodies that have not arrived whole, of all connections together, 65536 to 1099511627776; a \
            request that would need more is answered 503 and closed.
            """)
    static let operatorPages = Setting(
        name: "operatorPages", placeholder: "ports", standard: "both",
        help: """
            Where /health and /metrics are served: both for the data port too, with node names alone; admin for the \
            operators' port alone, as /v1/health and /v1/metrics.
            """)
    static let drainDelay = Setting(
        name: "drainDelay", placeholder: "time", standard: "0s",
        help: """
            How long connections are still accepted after SIGTERM, 0s to 10m, while /health answers 503 and every answer \
            closes its connection: time for load balancers to look elsewhere.
            """)
    static let drainTimeout = Setting(
        name: "drainTimeout", placeholder: "time", standard: "10s",
        help: "How long requests at hand and the return of leases may take after drainDelay, 100ms to 10m.")
    static let threads = Setting(
        name: "threads", placeholder: "count", standard: "0",
        help: "Event loops, 1 to 1024; 0 is one for each core.")
    static let logLevel = Setting(
        name: "logLevel", placeholder: "level", standard: "info",
        help: "Least severity that is logged to standard error: trace, debug, info, notice, warning, error or critical."
    )

    /// Every setting, in the order of the documentation.
    package static let all: [Setting] = [
        host, port, adminHost, adminPort, adminTokenFile, redis, topology, redisUser, redisPassword, redisPasswordFile,
        redisCaFile, redisCertFile,
        redisKeyFile, redisServerName, redisVerify, capacity, refillPerSecond, limits, onStoreFailure, leaseDuration,
        leaseHorizon, leaseMinimum, leasePrefetch, leaseIdle, leaseAlone, leaseDemandRise, leaseDemandFall, clockDrift,
        storeTimeout, maxBuckets, maxNewKeysPerSecond, maxWaiters, maxStoreRequests, recoveryRequests, maxConnections,
        requestTimeout,
        idleTimeout, maxConnectionAge, maxBodyBuffer, operatorPages, drainDelay, drainTimeout, threads, logLevel,
    ]
}

extension String {
    /// Puts a separator before each capital letter.
    fileprivate func separated(by separator: String) -> String {
        map { $0.isUppercase ? separator + String($0) : String($0) }.joined()
    }
}
