internal import ArgumentParser

/// The Redis connection flags, shared by `serve` and the commands that inspect Redis.
struct RedisOptions: ParsableArguments {
    @Option(help: .of("redis")) var redis: [String] = []
    @Option(help: .of("topology")) var topology: String?
    @Option(help: .of("keyPrefix")) var keyPrefix: String?
    @Option(help: .of("redisUser")) var redisUser: String?
    @Option(help: .of("redisPasswordFile")) var redisPasswordFile: String?
    @Option(help: .of("redisCaFile")) var redisCaFile: String?
    @Option(help: .of("redisCertFile")) var redisCertFile: String?
    @Option(help: .of("redisKeyFile")) var redisKeyFile: String?
    @Option(help: .of("redisServerName")) var redisServerName: String?
    @Option(help: .of("redisVerify")) var redisVerify: String?

    /// The given values, by setting name.
    var values: [String: String] {
        let single: [(String, String?)] = [
            ("topology", topology), ("keyPrefix", keyPrefix), ("redisUser", redisUser),
            ("redisPasswordFile", redisPasswordFile),
            ("redisCaFile", redisCaFile), ("redisCertFile", redisCertFile), ("redisKeyFile", redisKeyFile),
            ("redisServerName", redisServerName), ("redisVerify", redisVerify),
        ]
        var values: [String: String] = [:]
        for case (let name, let value?) in single { values[name] = value }
        if !redis.isEmpty { values["redis"] = redis.joined(separator: ",") }
        return values
    }
}
