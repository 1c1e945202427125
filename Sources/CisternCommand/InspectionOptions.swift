internal import ArgumentParser
internal import CisternServer
internal import Foundation
internal import Logging

/// Options shared by the commands that inspect Redis.
struct InspectionOptions: ParsableArguments {
    @Option(help: ArgumentHelp("YAML file with settings of a server.", valueName: "file")) var config: String?
    @Flag(help: "Print one JSON object.") var json = false

    /// Reads the settings and prepares to connect.
    ///
    /// - Throws: exit code 64 if a setting is invalid or `redis` is unset.
    func inspector(flags: [String: String]) throws -> RedisInspector {
        LoggingSystem.bootstrap { _ in SwiftLogNoOpLogHandler() }
        do {
            let settings = try ServerSettings(
                flags: flags, environment: ProcessInfo.processInfo.environment, configPath: config)
            return try RedisInspector(settings)
        } catch {
            throw Exit.say("\(error)", code: .usage)
        }
    }

    /// Encodes a value as one JSON object with sorted keys.
    static func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}
