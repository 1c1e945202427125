internal import Cistern
internal import CisternAdmin
internal import CisternHTTP
internal import CisternRedis
internal import Foundation
internal import Logging

extension ServerSettings {
    /// Reads settings; flags take precedence over the environment, and the environment over the file.
    ///
    /// - Parameters:
    ///   - flags: values from the command line, by setting name.
    ///   - environment: the process's environment.
    ///   - configPath: the settings file; if nil, the file that `CISTERN_CONFIG` names.
    ///   - readsLimits: whether to read the limits file; if false, only the default limit applies.
    /// - Throws: `SettingsError` for the first invalid setting.
    package init(
        flags: [String: String], environment: [String: String], configPath: String?, readsLimits: Bool = true
    ) throws(SettingsError) {
        let path = configPath ?? environment["CISTERN_CONFIG"]
        let file = if let path { try SettingsFile.read(path) } else { [String: String]() }
        var environment = environment
        let links = Self.serviceLinks(in: environment)
        for variable in links { environment[variable] = nil }
        try self.init(SettingsReader(flags: flags, environment: environment, file: file), readsLimits: readsLimits)
        fileSettingCount = file.count
        ignoredVariables = links
    }

    /// Variables that Kubernetes sets for a Service named `cistern` or `cistern-admin`, such as
    /// `CISTERN_PORT=tcp://10.0.0.1:80`.
    private static func serviceLinks(in environment: [String: String]) -> [String] {
        [Setting.port.variable, Setting.adminPort.variable].filter { variable in
            environment[variable]?.contains(/^(tcp|udp|sctp):\/\//) ?? false
        }
    }

    init(_ reader: SettingsReader, readsLimits: Bool) throws(SettingsError) {
        standard = try Self.standardLimit(reader)
        limitsPath = reader.text(.limits)
        limits = Limits(standard: standard)
        if let limitsPath, readsLimits { limits = try LimitsFile.read(limitsPath, standard: standard) }
        limiter = try Self.limiter(reader)
        http = try Self.http(reader)
        admin = try Self.admin(reader)
        redis = try Redis(reader)
        certificatePaths = [.redisCaFile, .redisCertFile, .redisKeyFile].compactMap(reader.text)
        if http.servesHealthAndMetrics == false, admin == nil {
            throw SettingsError(
                .operatorPages, value: reader.text(.operatorPages) ?? "",
                remedy: "adminPort is off: use both, or set adminPort to a port")
        }
        drainDelayMilliseconds = try reader.milliseconds(.drainDelay, in: 0...600_000)
        drainTimeoutMilliseconds = try reader.milliseconds(.drainTimeout, in: 100...600_000)
        threads = try reader.integer(.threads, in: 0...1024)
        logLevel = try reader.choice(.logLevel, of: Logger.Level.self)
        for setting in Setting.all where !setting.isSecret { written[setting.name] = reader.text(setting) }
    }

    private static func standardLimit(_ reader: SettingsReader) throws(SettingsError) -> Limit {
        do {
            return try Limit(
                capacity: reader.text(.capacity), refill: reader.written(.refill),
                refillPerSecond: reader.written(.refillPerSecond), standard: .standard)
        } catch {
            let setting =
                switch error.field {
                case .capacity: Setting.capacity
                case .refill: Setting.refill
                case .refillPerSecond: Setting.refillPerSecond
                }
            throw SettingsError(setting, value: reader.text(setting) ?? "", remedy: error.remedy)
        }
    }

    private static func limiter(_ reader: SettingsReader) throws(SettingsError) -> LimiterSettings {
        var limiter = LimiterSettings()
        limiter.maximumBuckets = try reader.integer(.maxBuckets, in: LimiterSettings.Field.maxBuckets.range)
        limiter.maximumNewKeysPerSecond = try reader.integer(
            .maxNewKeysPerSecond, in: LimiterSettings.Field.maxNewKeysPerSecond.range)
        limiter.maximumWaitersPerKey = try reader.integer(.maxWaiters, in: LimiterSettings.Field.maxWaiters.range)
        limiter.failurePolicy = try reader.choice(.onStoreFailure, of: FailurePolicy.self)
        for field in LeaseSettings.Field.allCases {
            let setting = Setting.of(field)
            limiter.lease[field] =
                field.isTime
                ? try reader.milliseconds(setting, in: field.range)
                : Int64(try reader.integer(setting, in: Int(field.range.lowerBound)...Int(field.range.upperBound)))
        }
        if let conflict = limiter.lease.conflict {
            let (setting, bound) = (Setting.of(conflict.field), Setting.of(conflict.bound))
            throw SettingsError(
                setting, value: reader.text(setting) ?? "",
                remedy: "use at most half of \(bound.name), which is \(reader.text(bound) ?? "")")
        }
        return limiter
    }

    private static func admin(_ reader: SettingsReader) throws(SettingsError) -> AdminSettings? {
        var admin = AdminSettings()
        admin.host = reader.text(.adminHost) ?? ""
        guard !admin.host.isEmpty else {
            throw SettingsError(.adminHost, value: "", remedy: "use an address such as 127.0.0.1 or 0.0.0.0")
        }
        if let path = reader.text(.adminTokenFile) { admin.tokens = try tokens(path) }
        if reader.text(.adminPort) == "off" { return nil }
        do {
            admin.port = try reader.integer(.adminPort, in: 0...65535)
        } catch {
            throw SettingsError(
                .adminPort, value: reader.text(.adminPort) ?? "", remedy: "use a port from 0 to 65535, or off")
        }
        guard !admin.host.hasPrefix("[") else {
            throw SettingsError(
                .adminHost, value: admin.host, remedy: "write the address without brackets, such as ::1")
        }
        guard admin.tokens != nil || AdminSettings.isLoopback(admin.host) else {
            throw SettingsError(
                .adminHost, value: admin.host,
                remedy: "others can reach this address: set adminTokenFile as well, or use 127.0.0.1")
        }
        return admin
    }

    private static func tokens(_ path: String) throws(SettingsError) -> AdminTokens {
        let text: String
        do {
            text = try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            throw SettingsError(.adminTokenFile, value: path, remedy: "the file cannot be read: \(readable(error))")
        }
        do {
            return try AdminTokens(text)
        } catch {
            throw SettingsError(.adminTokenFile, value: path, remedy: error.description)
        }
    }

    private static func http(_ reader: SettingsReader) throws(SettingsError) -> HTTPSettings {
        var http = HTTPSettings()
        http.host = reader.text(.host) ?? ""
        guard !http.host.isEmpty else {
            throw SettingsError(.host, value: "", remedy: "use an address such as 127.0.0.1 or 0.0.0.0")
        }
        http.port = try reader.integer(.port, in: 0...65535)
        http.maximumConnections = try reader.integer(.maxConnections, in: 1...1_000_000)
        http.requestTimeoutMilliseconds = try reader.milliseconds(.requestTimeout, in: 100...600_000)
        http.idleTimeoutMilliseconds = try reader.milliseconds(.idleTimeout, in: 100...3_600_000)
        http.maximumConnectionAgeMilliseconds = try reader.milliseconds(.maxConnectionAge, in: 0...86_400_000)
        http.maximumBufferedBodyBytes = try reader.integer(.maxBodyBuffer, in: 65_536...1_099_511_627_776)
        http.servesHealthAndMetrics = try reader.choice(.operatorPages, of: HealthAndMetricsPorts.self) == .both
        return http
    }
}

/// The ports that serve `/health` and `/metrics`.
private enum HealthAndMetricsPorts: String, CaseIterable {
    case both
    case admin
}

extension Setting {
    /// The setting that configures a field of the lease settings.
    fileprivate static func of(_ field: LeaseSettings.Field) -> Setting {
        switch field {
        case .leaseDuration: leaseDuration
        case .leaseHorizon: leaseHorizon
        case .leaseMinimum: leaseMinimum
        case .leasePrefetch: leasePrefetch
        case .leaseIdle: leaseIdle
        case .leaseAlone: leaseAlone
        case .leaseCallsPerSecond: leaseCallsPerSecond
        case .leaseDemandRise: leaseDemandRise
        case .leaseDemandFall: leaseDemandFall
        case .clockDrift: clockDrift
        case .storeTimeout: storeTimeout
        }
    }
}
