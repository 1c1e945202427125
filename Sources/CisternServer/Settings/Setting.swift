/// One server setting: its name, default value and description.
///
/// This list is the single source for settings; help texts, the article Configuration and tests follow it.
package struct Setting: Sendable, Equatable {
    /// The name in a settings file, in camel case.
    package let name: String
    /// Placeholder for the value in help texts.
    package let placeholder: String
    /// The default value, as written in a settings file; nil for none.
    package let standard: String?
    /// Description of the setting, with unit and range.
    package let help: String

    /// Whether the value must never be shown.
    ///
    /// `redis` is secret because its URLs may contain a password.
    package var isSecret: Bool { self == .redisPassword || self == .redis }

    /// Whether the setting has a flag; `redisPassword` has none because `ps` shows command lines.
    package var hasFlag: Bool { self != .redisPassword }

    /// The flag of the command: the name in kebab case.
    package var flag: String { "--" + name.separated(by: "-").lowercased() }

    /// The environment variable: `CISTERN_` and the name in upper snake case.
    package var variable: String { "CISTERN_" + name.separated(by: "_").uppercased() }
}

extension Setting {
    static let host = Setting(
        name: "host", placeholder: "address", standard: "127.0.0.1", help: "Address or name to listen on.")
    static let port = Setting(
        name: "port", placeholder: "port", standard: "8080",
        help: "TCP port to listen on, 0 to 65535; 0 picks a free port.")
    static let adminHost = Setting(
        name: "adminHost", placeholder: "address", standard: "127.0.0.1",
        help: """
            Address or name that the admin interface listens on. An address other than loopback requires \
            adminTokenFile.
            """)
    static let adminPort = Setting(
        name: "adminPort", placeholder: "port", standard: "8081",
        help: "TCP port of the admin interface, 0 to 65535; 0 picks a free port, off disables the admin interface.")
    static let adminTokenFile = Setting(
        name: "adminTokenFile", placeholder: "file", standard: nil,
        help: """
            File with the tokens of the admin interface, one NAME:SECRET a line; a secret has at least 16 visible \
            characters. Reloaded on SIGHUP. If unset, every user of this machine has access.
            """)
    static let redis = Setting(
        name: "redis", placeholder: "url", standard: nil,
        help: """
            URLs of the Redis nodes that servers share, as a list or comma-separated: \
            redis://[[user]:password@]host[:port][/database], or rediss:// for TLS. ?weight=2 doubles a node's share \
            of the ring; ?name=a gives it a name that stays the same when its address changes. If unset, buckets are \
            kept in this process.
            """)
    static let topology = Setting(
        name: "topology", placeholder: "kind", standard: "ring",
        help: """
            Topology of the nodes: ring for independent nodes, cluster for a Redis Cluster, where redis lists one or \
            more of its nodes.
            """)
    static let keyPrefix = Setting(
        name: "keyPrefix", placeholder: "prefix", standard: "ratelimit",
        help: """
            Prefix of all keys in Redis: 1 to 64 letters, digits, hyphens, underscores or dots. Servers and \
            libraries share buckets and overrides only with those that use the same prefix.
            """)
    static let redisUser = Setting(
        name: "redisUser", placeholder: "name", standard: nil,
        help: "ACL user to log in as, for the nodes whose URL has none.")
    static let redisPassword = Setting(
        name: "redisPassword", placeholder: "password", standard: nil,
        help: "Password for the nodes whose URL has none. It has no flag, because flags are visible in ps.")
    static let redisPasswordFile = Setting(
        name: "redisPasswordFile", placeholder: "file", standard: nil,
        help: "File whose first line is the password for these nodes; use it instead of redisPassword.")
    static let redisCaFile = Setting(
        name: "redisCaFile", placeholder: "file", standard: nil,
        help: "PEM file with the CA certificates trusted for rediss://; if unset, the system's.")
    static let redisCertFile = Setting(
        name: "redisCertFile", placeholder: "file", standard: nil,
        help: "PEM file with the client certificate and its chain, shown to rediss:// nodes.")
    static let redisKeyFile = Setting(
        name: "redisKeyFile", placeholder: "file", standard: nil,
        help: "PEM file with the private key of redisCertFile.")
    static let redisServerName = Setting(
        name: "redisServerName", placeholder: "name", standard: nil,
        help: "Name that the nodes' certificates must be valid for; if unset, the host in the URL.")
    static let redisVerify = Setting(
        name: "redisVerify", placeholder: "what", standard: "name",
        help: "What to verify in a node's certificate: name for signature and name, signature for the signature only.")
    static let capacity = Setting(
        name: "capacity", placeholder: "tokens", standard: "100",
        help: "Burst of an organization without its own limit, 1 to 1000000000 tokens.")
    static let refill = Setting(
        name: "refill", placeholder: "tokens/period", standard: "10/s",
        help: """
            Refill of an organization without its own limit, such as 10/s, 600/m, 5/h, 1000/d or 3/250ms; at most \
            1000000000 tokens a second.
            """)
    static let refillPerSecond = Setting(
        name: "refillPerSecond", placeholder: "tokens/s", standard: nil,
        help: "In place of refill: a number of tokens a second, with any decimals.")
    static let limits = Setting(
        name: "limits", placeholder: "file", standard: nil,
        help: "YAML file with limits of individual organizations; its default replaces capacity and refill.")
    static let onStoreFailure = Setting(
        name: "onStoreFailure", placeholder: "policy", standard: "open",
        help: """
            What to do while an organization's node is unreachable: open lets requests through uncounted, closed \
            responds with 503, local enforces this server's fraction of the limit.
            """)
    static let leaseDuration = Setting(
        name: "leaseDuration", placeholder: "time", standard: "2s",
        help: """
            How long leased tokens last, 100ms to 60s. If longer, a silent server strands its tokens for longer. If \
            shorter, an organization that pauses loses its leased tokens sooner.
            """)
    static let leaseHorizon = Setting(
        name: "leaseHorizon", placeholder: "time", standard: "250ms",
        help: """
            How much demand one lease covers, 10ms to 10s and at most half of leaseDuration. Longer means fewer store \
            calls, but more tokens at servers that may not need them.
            """)
    static let leaseMinimum = Setting(
        name: "leaseMinimum", placeholder: "tokens", standard: "5",
        help: """
            Minimum demand over the horizon for leasing in advance, 1 to 1000000 tokens. Higher meters more \
            organizations exactly, but costs a store call per shortage.
            """)
    static let leasePrefetch = Setting(
        name: "leasePrefetch", placeholder: "time", standard: "20ms",
        help: """
            How long before running dry a lease is renewed, 0ms to 5s and at most half of leaseHorizon. It should \
            cover the round trip to Redis. Longer lets fewer requests wait, but uses each lease for less of its time.
            """)
    static let leaseIdle = Setting(
        name: "leaseIdle", placeholder: "time", standard: "250ms",
        help: """
            How long an organization may be idle before its tokens are returned to Redis, 10ms to 60s. Shorter frees \
            them sooner for servers that need them; longer saves store calls for organizations with intermittent \
            traffic.
            """)
    static let leaseAlone = Setting(
        name: "leaseAlone", placeholder: "factor", standard: "2",
        help: """
            Solo multiplier: how many horizons a server may lease at once while no other server leases from the same \
            bucket, 1 to 8. Higher means fewer store calls, but a second server waits longer for its share.
            """)
    static let leaseCallsPerSecond = Setting(
        name: "leaseCallsPerSecond", placeholder: "calls/s", standard: "200",
        help: """
            Store calls a second that all servers together make for one organization, 1 to 1000000: with many servers, \
            horizon and duration grow with their number.
            """)
    static let leaseDemandRise = Setting(
        name: "leaseDemandRise", placeholder: "time", standard: "200ms",
        help: """
            Time constant of the demand average while demand rises, 1ms to 10s. Shorter means fewer store calls at the \
            start of a burst, but more tokens leased for bursts that do not last.
            """)
    static let leaseDemandFall = Setting(
        name: "leaseDemandFall", placeholder: "time", standard: "250ms",
        help: """
            Time constant of the demand average while demand falls, 1ms to 60s. Longer means fewer store calls when a \
            pause ends, but each server's share of a bucket follows demand more slowly.
            """)
    static let clockDrift = Setting(
        name: "clockDrift", placeholder: "thousandths", standard: "20",
        help: """
            How much faster or slower than Redis's clock this server's clock may run, 0 to 200 thousandths. Higher \
            tolerates worse clocks, but uses each lease for less of its time. Below the true drift, the limit may be \
            exceeded.
            """)
    static let storeTimeout = Setting(
        name: "storeTimeout", placeholder: "time", standard: "100ms",
        help: """
            How long a request waits for Redis before the failure policy decides, 5ms to 10s and at most half of \
            leaseDuration. It should be at least twice the slowest normal round trip.
            """)
    static let maxBuckets = Setting(
        name: "maxBuckets", placeholder: "count", standard: "1000000",
        help: """
            Organizations kept in memory, 1 to 1000000000. At the bound, a new organization evicts an idle one. If \
            none is idle, the embedded store refuses the new one with 503; with Redis, it replaces the lease of \
            another.
            """)
    static let maxNewKeysPerSecond = Setting(
        name: "maxNewKeysPerSecond", placeholder: "count", standard: "0",
        help: """
            New organizations (not in memory) admitted per second, 1 to 1000000000; further ones get 429. 0 means no \
            bound. This limits how many keys clients that choose names freely can create in Redis. After a start, \
            every organization is new.
            """)
    static let maxWaiters = Setting(
        name: "maxWaiters", placeholder: "count", standard: "10000",
        help: "Requests of one organization that may wait for Redis, 1 to 1000000; further requests get 503.")
    static let maxStoreRequests = Setting(
        name: "maxStoreRequests", placeholder: "count", standard: "10000",
        help: """
            Lease requests that may wait for one node, 1 to 1000000; beyond that, the failure policy decides at once.
            """)
    static let recoveryRequests = Setting(
        name: "recoveryRequests", placeholder: "count", standard: "1000",
        help: """
            Lease requests that a node gets in the first 100 ms after it recovers, 1 to 1000000. The bound doubles in \
            each of the next four 100 ms intervals, and then no longer applies. The failure policy decides the other \
            requests.
            """)
    static let maxConnections = Setting(
        name: "maxConnections", placeholder: "count", standard: "10000",
        help: "Open HTTP connections, 1 to 1000000; a further connection gets 503 and is closed.")
    static let requestTimeout = Setting(
        name: "requestTimeout", placeholder: "time", standard: "30s",
        help: """
            How long the rest of a request may take to arrive after its headers, 100ms to 10m; a slower request gets \
            408.
            """)
    static let idleTimeout = Setting(
        name: "idleTimeout", placeholder: "time", standard: "75s",
        help: "How long a connection may stay open without the complete headers of a request, 100ms to 1h.")
    static let maxConnectionAge = Setting(
        name: "maxConnectionAge", placeholder: "time", standard: "10m",
        help: """
            Age at which a response closes its HTTP connection, 0s to 24h, varied at random by up to a tenth; 0s for \
            no bound. Shorter spreads clients sooner over new servers, but makes them connect more often.
            """)
    static let maxBodyBuffer = Setting(
        name: "maxBodyBuffer", placeholder: "bytes", standard: "67108864",
        help: """
            Bytes of incomplete request bodies, over all connections, 65536 to 1099511627776; a request that would \
            exceed it gets 503, and its connection is closed.
            """)
    static let operatorPages = Setting(
        name: "operatorPages", placeholder: "ports", standard: "both",
        help: """
            Where /health and /metrics are served: both for the data port as well, with node names only; admin for the \
            admin port only, as /v1/health and /v1/metrics.
            """)
    static let drainDelay = Setting(
        name: "drainDelay", placeholder: "time", standard: "0s",
        help: """
            How long connections are still accepted after SIGTERM, 0s to 10m. Meanwhile /health responds with 503 and \
            every response closes its connection, so that load balancers can use other servers.
            """)
    static let drainTimeout = Setting(
        name: "drainTimeout", placeholder: "time", standard: "10s",
        help: "How long in-flight requests and the return of leases may take after drainDelay, 100ms to 10m.")
    static let threads = Setting(
        name: "threads", placeholder: "count", standard: "0",
        help: "Number of event loops, 1 to 1024; 0 means one per core.")
    static let logLevel = Setting(
        name: "logLevel", placeholder: "level", standard: "info",
        help: "Lowest level that is logged to standard error: trace, debug, info, notice, warning, error or critical.")

    /// Every setting, in the order of the documentation.
    package static let all: [Setting] = [
        host, port, adminHost, adminPort, adminTokenFile, redis, topology, keyPrefix, redisUser, redisPassword,
        redisPasswordFile,
        redisCaFile, redisCertFile,
        redisKeyFile, redisServerName, redisVerify, capacity, refill, refillPerSecond, limits, onStoreFailure,
        leaseDuration,
        leaseHorizon, leaseMinimum, leasePrefetch, leaseIdle, leaseAlone, leaseCallsPerSecond, leaseDemandRise,
        leaseDemandFall, clockDrift,
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
