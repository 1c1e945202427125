internal import ArgumentParser
internal import CisternServer

/// The flags of `cistern serve`: one for each setting except `redisPassword`.
///
/// Values stay text here; `ServerSettings` validates them, whatever their source.
struct ServeOptions: ParsableArguments {
    @Option(help: .of("host")) var host: String?
    @Option(help: .of("port")) var port: String?
    @Option(help: .of("adminHost")) var adminHost: String?
    @Option(help: .of("adminPort")) var adminPort: String?
    @Option(help: .of("adminTokenFile")) var adminTokenFile: String?
    @OptionGroup var link: RedisOptions
    @Option(help: .of("capacity")) var capacity: String?
    @Option(help: .of("refill")) var refill: String?
    @Option(help: .of("refillPerSecond")) var refillPerSecond: String?
    @Option(help: .of("limits")) var limits: String?
    @Option(help: .of("onStoreFailure")) var onStoreFailure: String?
    @OptionGroup var lease: LeaseOptions
    @Option(help: .of("maxBuckets")) var maxBuckets: String?
    @Option(help: .of("maxNewKeysPerSecond")) var maxNewKeysPerSecond: String?
    @Option(help: .of("maxWaiters")) var maxWaiters: String?
    @Option(help: .of("maxStoreRequests")) var maxStoreRequests: String?
    @Option(help: .of("recoveryRequests")) var recoveryRequests: String?
    @Option(help: .of("maxConnections")) var maxConnections: String?
    @Option(help: .of("requestTimeout")) var requestTimeout: String?
    @Option(help: .of("idleTimeout")) var idleTimeout: String?
    @Option(help: .of("maxConnectionAge")) var maxConnectionAge: String?
    @Option(help: .of("maxBodyBuffer")) var maxBodyBuffer: String?
    @Option(help: .of("operatorPages")) var operatorPages: String?
    @Option(help: .of("drainDelay")) var drainDelay: String?
    @Option(help: .of("drainTimeout")) var drainTimeout: String?
    @Option(help: .of("threads")) var threads: String?
    @Option(help: .of("logLevel")) var logLevel: String?
    @Option(help: ArgumentHelp("YAML file with settings; this help lists them.", valueName: "file"))
    var config: String?

    /// The given values, by setting name.
    var values: [String: String] {
        let single: [(String, String?)] = [
            ("host", host), ("port", port), ("adminHost", adminHost), ("adminPort", adminPort),
            ("adminTokenFile", adminTokenFile), ("capacity", capacity), ("refill", refill),
            ("refillPerSecond", refillPerSecond),
            ("limits", limits), ("onStoreFailure", onStoreFailure),
            ("maxBuckets", maxBuckets), ("maxNewKeysPerSecond", maxNewKeysPerSecond), ("maxWaiters", maxWaiters),
            ("maxStoreRequests", maxStoreRequests), ("recoveryRequests", recoveryRequests),
            ("maxConnections", maxConnections),
            ("requestTimeout", requestTimeout), ("idleTimeout", idleTimeout),
            ("maxConnectionAge", maxConnectionAge), ("maxBodyBuffer", maxBodyBuffer),
            ("operatorPages", operatorPages), ("drainDelay", drainDelay), ("drainTimeout", drainTimeout),
            ("threads", threads), ("logLevel", logLevel),
        ]
        var values = lease.values.merging(link.values) { $1 }
        for case (let name, let value?) in single { values[name] = value }
        return values
    }
}

extension ArgumentHelp {
    /// The help text and default of a setting, from `Setting.all`.
    static func of(_ name: String) -> ArgumentHelp {
        guard let setting = Setting.all.first(where: { $0.name == name }) else {
            preconditionFailure("there is no setting '\(name)'")
        }
        let standard = setting.standard.map { " (default: \($0))" } ?? ""
        return ArgumentHelp("\(setting.help)\(standard)", valueName: setting.placeholder)
    }
}
