internal import Cistern
internal import CisternRedis
internal import Foundation
internal import NIOCore
internal import NIOSSL

extension ServerSettings.Redis {
    /// What to verify in a node's certificate (`redisVerify`).
    private enum Verification: String, CaseIterable {
        case name
        case signature
    }

    /// Reads the Redis settings; nil if `redis` is unset.
    ///
    /// - Throws: `SettingsError` for the first setting that is invalid or would have no effect.
    init?(_ reader: SettingsReader) throws(SettingsError) {
        // Checked even without Redis, so that an invalid setting is always reported.
        settings.maximumPendingRequests = try reader.integer(.maxStoreRequests, in: 1...1_000_000)
        settings.firstRequestsAfterRecovery = try reader.integer(.recoveryRequests, in: 1...1_000_000)
        keyPrefix = reader.text(.keyPrefix) ?? ""
        do {
            try StoreEnvironment.validate(namespace: keyPrefix)
        } catch {
            throw SettingsError(.keyPrefix, value: keyPrefix, remedy: error.remedy)
        }
        topology = try reader.choice(.topology, of: RedisTopology.self)
        let verification = try reader.choice(.redisVerify, of: Verification.self)
        guard let urls = reader.text(.redis), !urls.isEmpty else {
            try Self.refuse(Self.redisOnlySettings, reader, remedy: "it needs redis to be set as well")
            return nil
        }
        endpoints = try Self.endpoints(urls, reader)
        do {
            try RedisStore.InvalidNodes.check(endpoints, topology: topology)
        } catch {
            throw SettingsError("redis: \(error) (\(Setting.redis.flag), \(Setting.redis.variable))")
        }
        if endpoints.contains(where: \.usesTLS) {
            try readTLS(reader, verification)
        } else {
            let remedy = "it needs a redis URL that starts with rediss://"
            try Self.refuse(Self.tlsOnlySettings, reader, remedy: remedy)
            guard verification == .name else {
                throw SettingsError(.redisVerify, value: verification.rawValue, remedy: remedy)
            }
        }
    }

    private static let tlsOnlySettings: [Setting] = [.redisCaFile, .redisCertFile, .redisKeyFile, .redisServerName]
    private static let redisOnlySettings: [Setting] =
        [.redisUser, .redisPassword, .redisPasswordFile] + tlsOnlySettings

    private static func refuse(
        _ settings: [Setting], _ reader: SettingsReader, remedy: String
    ) throws(SettingsError) {
        for setting in settings {
            guard let text = reader.text(setting) else { continue }
            throw SettingsError(setting, value: setting.isSecret ? "***" : text, remedy: remedy)
        }
    }

    private static func endpoints(_ urls: String, _ reader: SettingsReader) throws(SettingsError) -> [RedisEndpoint] {
        let password = try password(reader)
        let username = reader.text(.redisUser)
        if username != nil, password == nil {
            throw SettingsError(
                .redisUser, value: username ?? "", remedy: "it needs a password: set redisPasswordFile as well")
        }
        var endpoints: [RedisEndpoint] = []
        for url in RedisEndpoint.urls(in: urls) {
            do {
                let endpoint = try RedisEndpoint(url: url)
                endpoints.append(endpoint.withCredentials(by: username, with: password))
            } catch {
                throw SettingsError("redis: \(error) (\(Setting.redis.flag), \(Setting.redis.variable))")
            }
        }
        return endpoints
    }

    private static func password(_ reader: SettingsReader) throws(SettingsError) -> String? {
        let password = reader.text(.redisPassword)
        guard let path = reader.text(.redisPasswordFile) else { return password }
        guard password == nil else {
            throw SettingsError(
                .redisPasswordFile, value: path, remedy: "redisPassword is set as well: keep one of them")
        }
        let text: String
        do {
            text = try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            throw SettingsError(.redisPasswordFile, value: path, remedy: "the file cannot be read: \(readable(error))")
        }
        guard let line = text.split(whereSeparator: \.isNewline).first, !line.isEmpty else {
            throw SettingsError(
                .redisPasswordFile, value: path, remedy: "put the password on the first line of the file")
        }
        return String(line)
    }

    private mutating func readTLS(_ reader: SettingsReader, _ verification: Verification) throws(SettingsError) {
        settings.serverName = reader.text(.redisServerName)
        if let name = settings.serverName, (try? SocketAddress(ipAddress: name, port: 0)) != nil {
            throw SettingsError(
                .redisServerName, value: name,
                remedy: "use a name; to verify an IP address, make it the host of the URL")
        }
        settings.tls.certificateVerification = verification == .name ? .fullVerification : .noHostnameVerification
        if let path = reader.text(.redisCaFile) {
            settings.tls.trustRoots = .certificates(try Self.certificates(.redisCaFile, path))
        }
        let (certificate, key) = (reader.text(.redisCertFile), reader.text(.redisKeyFile))
        switch (certificate, key) {
        case (nil, nil): break
        case (let path?, nil): throw SettingsError(.redisCertFile, value: path, remedy: "set redisKeyFile as well")
        case (nil, let path?): throw SettingsError(.redisKeyFile, value: path, remedy: "set redisCertFile as well")
        case (let path?, let keyPath?):
            settings.tls.certificateChain = try Self.certificates(.redisCertFile, path).map { .certificate($0) }
            do {
                settings.tls.privateKey = .privateKey(try NIOSSLPrivateKey(file: keyPath, format: .pem))
            } catch {
                throw SettingsError(.redisKeyFile, value: keyPath, remedy: "no PEM key can be read from it: \(error)")
            }
        }
        do {
            _ = try NIOSSLContext(configuration: settings.tls)
        } catch {
            throw SettingsError(
                .redisKeyFile, value: key ?? "",
                remedy: "it does not belong to redisCertFile, or cannot be used: \(error)")
        }
    }

    private static func certificates(
        _ setting: Setting, _ path: String
    ) throws(SettingsError) -> [NIOSSLCertificate] {
        do {
            return try NIOSSLCertificate.fromPEMFile(path)
        } catch {
            throw SettingsError(setting, value: path, remedy: "no PEM certificates can be read from it: \(error)")
        }
    }
}
