import Cistern
import CisternHTTP
import CisternProcesses
import CisternRedis
import CisternTesting
import Foundation
import Logging
import Testing

@testable import CisternServer

@Suite("Settings")
struct SettingsTests {
    private let folder: TemporaryDirectory

    init() throws {
        folder = try TemporaryDirectory()
    }

    private func settings(
        _ flags: [String: String] = [:], environment: [String: String] = [:], file: String? = nil
    ) throws -> ServerSettings {
        let path = try file.map { try folder.write($0, to: "config.yaml") }
        return try ServerSettings(flags: flags, environment: environment, configPath: path)
    }

    private func message(
        _ flags: [String: String] = [:], environment: [String: String] = [:], file: String? = nil
    ) -> String {
        let error = #expect(throws: SettingsError.self) { try settings(flags, environment: environment, file: file) }
        return error?.description ?? ""
    }

    @Test("settings have the documented defaults")
    func standards() throws {
        let settings = try settings()
        #expect(settings.limits == Limits(standard: .standard))
        #expect(settings.http.host == "127.0.0.1" && settings.http.port == 8080)
        #expect(settings.redis == nil)
        #expect(settings.limiter == LimiterSettings())
        #expect(settings.drainTimeoutMilliseconds == 10_000)
        #expect(settings.logLevel == .info)
    }

    @Test("settings come from flags first, then from the environment, then from the file")
    func precedence() throws {
        let file = "port: 1\ncapacity: 1\nrefillPerSecond: 0.5\nleaseHorizon: 100ms\n"
        let environment = ["CISTERN_PORT": "2", "CISTERN_CAPACITY": "2", "CISTERN_ON_STORE_FAILURE": "closed"]
        let settings = try settings(["port": "3"], environment: environment, file: file)
        #expect(settings.http.port == 3)
        #expect(settings.limits.standard == (try Limit(capacity: 2, refillPerSecond: 0.5)))
        #expect(settings.limiter.failurePolicy == .closed)
        #expect(settings.limiter.lease.horizonMilliseconds == 100)
    }

    @Test("the environment may name the file")
    func fileFromEnvironment() throws {
        let path = try folder.write("port: 7\n", to: "config.yaml")
        #expect(try settings(environment: ["CISTERN_CONFIG": path]).http.port == 7)
    }

    @Test("every setting can be set by flag, by variable and in the file", arguments: Setting.all.map(\.name))
    func everyWay(name: String) throws {
        let setting = try #require(Setting.all.first { $0.name == name })
        let wrong = "\u{1}wrong"
        for (flags, environment, file) in [
            ([name: wrong], [:], nil), ([:], [setting.variable: wrong], nil), ([:], [:], "\(name): \"\\u0001wrong\"\n"),
        ] as [([String: String], [String: String], String?)] {
            // Any text is a valid host; every other setting rejects this value.
            if name == "host" {
                #expect(try settings(flags, environment: environment, file: file).http.host == wrong)
            } else {
                let message = message(flags, environment: environment, file: file)
                #expect(
                    (!setting.hasFlag || message.contains(setting.flag)) && message.contains(setting.variable),
                    "\(message)")
            }
        }
    }

    @Test(
        "an invalid setting is rejected, and the error names the setting, its value and the remedy",
        arguments: [
            (["port": "70000"], "port is '70000': use a whole number from 0 to 65535 (--port, CISTERN_PORT)"),
            (["port": ""], "port is '': use a whole number from 0 to 65535 (--port, CISTERN_PORT)"),
            (["host": ""], "host is '': use an address such as 127.0.0.1 or 0.0.0.0 (--host, CISTERN_HOST)"),
            (
                ["capacity": "-1"],
                "capacity is '-1': use a whole number of tokens from 0 to 1000000000 (--capacity, CISTERN_CAPACITY)"
            ),
            (
                ["capacity": "ten"],
                "capacity is 'ten': use a whole number of tokens (--capacity, CISTERN_CAPACITY)"
            ),
            (
                ["refillPerSecond": "-0.5"],
                "refillPerSecond is '-0.5': use a number of tokens a second above 0, at most 1000000000 "
                    + "(--refill-per-second, CISTERN_REFILL_PER_SECOND)"
            ),
            (
                ["refill": "5/fortnight"],
                "refill is '5/fortnight': use whole tokens per period, such as 10/s, 600/m, 5/h, 1000/d or 3/250ms "
                    + "(--refill, CISTERN_REFILL)"
            ),
            (
                ["refill": "5/h", "refillPerSecond": "1"],
                "refill is '5/h': leave out either refill or refillPerSecond (--refill, CISTERN_REFILL)"
            ),
            (
                ["leaseDuration": "2"],
                "leaseDuration is '2': use a time from 100ms to 1m (--lease-duration, CISTERN_LEASE_DURATION)"
            ),
            (
                ["leaseDuration": "2m"],
                "leaseDuration is '2m': use a time from 100ms to 1m (--lease-duration, CISTERN_LEASE_DURATION)"
            ),
            (
                ["leaseHorizon": "1500ms"],
                "leaseHorizon is '1500ms': use at most half of leaseDuration, which is 2s (--lease-horizon, "
                    + "CISTERN_LEASE_HORIZON)"
            ),
            (
                ["onStoreFailure": "panic"],
                "onStoreFailure is 'panic': use one of open, closed, local (--on-store-failure, "
                    + "CISTERN_ON_STORE_FAILURE)"
            ),
            (
                ["logLevel": "loud"],
                "logLevel is 'loud': use one of trace, debug, info, notice, warning, error, critical (--log-level, "
                    + "CISTERN_LOG_LEVEL)"
            ),
            (
                ["redis": "localhost"],
                "redis: 'localhost' is not a Redis URL: it must start with redis:// or rediss://; for example "
                    + "redis://127.0.0.1:6379/0 (--redis, CISTERN_REDIS)"
            ),
            (
                ["redis": "redis://a,redis://b,redis://a"],
                "redis: two nodes are named a:6379: name each once, or tell them apart with ?name= (--redis, "
                    + "CISTERN_REDIS)"
            ),
            (
                ["redis": (1...11).map { "redis://h\($0)?weight=100" }.joined(separator: ",")],
                "redis: the weights add up to 1100: use at most 1024 in all (--redis, CISTERN_REDIS)"
            ),
            (
                ["redis": "redis://a/1", "topology": "cluster"],
                "redis: redis://a:6379/1 names database 1: a Redis Cluster has only database 0 (--redis, CISTERN_REDIS)"
            ),
            (
                ["redis": "redis://a", "redisUser": "meter"],
                "redisUser is 'meter': it needs a password: set redisPasswordFile as well (--redis-user, "
                    + "CISTERN_REDIS_USER)"
            ),
            (
                ["redis": "redis://a", "redisPasswordFile": "/no/such"],
                "redisPasswordFile is '/no/such': the file cannot be read: there is no such file "
                    + "(--redis-password-file, CISTERN_REDIS_PASSWORD_FILE)"
            ),
            (
                ["redis": "redis://a", "redisServerName": "b"],
                "redisServerName is 'b': it needs a redis URL that starts with rediss:// (--redis-server-name, "
                    + "CISTERN_REDIS_SERVER_NAME)"
            ),
            (
                ["redis": "rediss://a", "redisCertFile": "/c"],
                "redisCertFile is '/c': set redisKeyFile as well (--redis-cert-file, CISTERN_REDIS_CERT_FILE)"
            ),
            (
                ["redisPassword": "hunter2"],
                "redisPassword is '***': it needs redis to be set as well (CISTERN_REDIS_PASSWORD)"
            ),
            (
                ["redisCaFile": "/x"],
                "redisCaFile is '/x': it needs redis to be set as well (--redis-ca-file, CISTERN_REDIS_CA_FILE)"
            ),
            (
                ["limits": "/no/such.yaml"],
                "limits is '/no/such.yaml': the file cannot be read: there is no such file (--limits, CISTERN_LIMITS)"
            ),
        ] as [([String: String], String)])
    func wrongSettings(flags: [String: String], expected: String) {
        #expect(message(flags) == expected)
    }

    @Test("a Redis password appears in no error message")
    func secrets() {
        #expect(!message(["redis": "redis://:hunter2@h:99999"]).contains("hunter2"))
    }

    @Test(
        "the error for an invalid file names the line",
        arguments: [
            ("port: 1\nprot: 2\n", ":2: 'prot' is not a setting: use host, port,"),
            ("port: [\n", ":2: not valid YAML"), ("- port\n", ":1: expected 'name: value' lines"),
            ("port: 1\nport: 2\n", "port appears twice"), ("port: {a: 1}\n", ":1: port must be a single value"),
        ])
    func wrongFiles(text: String, part: String) {
        #expect(message(file: text).contains(part), "\(message(file: text))")
    }

    @Test("an empty file sets nothing; a missing file is an error")
    func missingFiles() throws {
        #expect(try settings(file: "# nothing\n").http.port == 8080)
        let error = #expect(throws: SettingsError.self) {
            try ServerSettings(flags: [:], environment: [:], configPath: "/no/such.yaml")
        }
        #expect(
            error?.description.contains("config is '/no/such.yaml': the file cannot be read: there is no such file")
                == true)
    }
}

@Suite("The limits file")
struct LimitsFileTests {
    private func parse(_ text: String) throws -> Limits {
        try LimitsFile.parse(text, path: "limits.yaml", standard: .standard)
    }

    @Test("the file sets a default limit and the limits of single organizations")
    func parses() throws {
        let limits = try parse(
            """
            default: {capacity: 50, refillPerSecond: 5}
            organizations:
              acme: {capacity: 5000, refillPerSecond: 500.5}
              free: {capacity: 20, refill: 5/h}
              "007":
                capacity: 1
                refillPerSecond: 0.001
            """)
        #expect(limits.standard.capacity == 50)
        #expect(limits.keyCount == 3)
        #expect(limits.limit(of: "free".utf8.span).refill == .perHour(5))
        #expect(limits.limit(of: "acme".utf8.span).refillPerSecond == 500.5)
        #expect(limits.limit(of: "007".utf8.span).capacity == 1)
        #expect(limits.limit(of: "7".utf8.span).capacity == 50)
    }

    @Test("the file may omit the default limit, and may list no organization if it does so explicitly")
    func defaults() throws {
        #expect(try parse("organizations: {a: {capacity: 1, refillPerSecond: 1}}").standard == .standard)
        #expect(try parse("organizations: {}").keyCount == 0)
    }

    @Test(
        "an empty file is rejected, since it may have been truncated",
        arguments: ["", " \n\t\n", "# a comment\n", "---\n", "null\n", "~", "{}", "organizations:\n"])
    func emptied(text: String) {
        #expect(throws: SettingsError.self) { try parse(text) }
    }

    @Test(
        "an invalid file is rejected, and the error names the line, the field and the remedy",
        arguments: [
            ("defualt: 1", "limits.yaml:1: defualt is not a field here: use default and organizations"),
            ("default: 5", "limits.yaml:1: default must be a limit, such as {capacity: 100, refill: 10/s}"),
            ("default:\n  capacity: 5\n", "limits.yaml:2: default.refill is missing"),
            ("default:\n  refillPerSecond: 5\n", "limits.yaml:2: default.capacity is missing"),
            (
                "organizations:\n  acme:\n    capacity: 1.5\n    refillPerSecond: 1\n",
                "limits.yaml:3: organizations.acme.capacity is 1.5: use a whole number of tokens"
            ),
            (
                "organizations:\n  acme:\n    capacity: 1\n    refillPerSecond: fast\n",
                "limits.yaml:4: organizations.acme.refillPerSecond is fast: use a number of tokens a second"
            ),
            (
                "organizations:\n  acme:\n    capacity: -1\n    refillPerSecond: 1\n",
                "limits.yaml:3: organizations.acme.capacity is -1: use a whole number of tokens from 0 to 1000000000"
            ),
            (
                "organizations:\n  acme:\n    capacity: 1\n    refill: 1\n",
                "limits.yaml:4: organizations.acme.refill is 1: use whole tokens per period, such as 10/s, 600/m, 5/h, "
                    + "1000/d or 3/250ms"
            ),
            (
                "organizations:\n  acme:\n    capacity: 1\n    refill: [5/h]\n",
                "limits.yaml:4: organizations.acme.refill is a nested value: use a single value"
            ),
            (
                "organizations:\n  acme:\n    capacity: 1\n    rate: 1\n",
                "limits.yaml:4: organizations.acme.rate is not a field of a limit: use capacity, refill and shadow"
            ),
            (
                "organizations:\n  a b: {capacity: 1, refillPerSecond: 1}\n",
                "limits.yaml:2: organizations: 'a b' is not a name: use 1 to 128 characters of A-Z a-z 0-9 . _ : @ -"
            ),
            (
                "organizations: [acme]\n",
                "limits.yaml:1: organizations must be a mapping, such as {acme: {capacity: 100, refill: "
                    + "10/s}}, or {} for none"
            ),
        ])
    func refuses(text: String, message: String) {
        let error = #expect(throws: SettingsError.self) { try parse(text) }
        #expect(error?.description == message)
    }

    @Test("the file is rejected if it lists an organization twice")
    func duplicates() {
        let entry = "  a: {capacity: 1, refillPerSecond: 1}\n"
        let error = #expect(throws: SettingsError.self) { try parse("organizations:\n" + entry + entry) }
        #expect(error?.description.contains("a appears twice: keep one") == true)
    }
}
