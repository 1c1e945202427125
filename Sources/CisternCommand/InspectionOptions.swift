internal import ArgumentParser
internal import CisternServer
internal import Foundation
internal import Logging

/// What the commands that look into Redis have in common.
struct InspectionOptions: ParsableArguments {
    @Option(help: ArgumentHelp("YAML file with any of the settings of a server.", valueName: "file")) var config:
        String?
    @Flag(help: "Print one JSON object.") var json = false

    /// Reads the settings and prepares to connect.
    ///
    /// - Throws: an exit with 64 where a setting is wrong, or Redis is not named.
    func inspector(flags: [String: String]) throws -> FleetInspector {
        LoggingSystem.bootstrap { _ in SwiftLogNoOpLogHandler() }
        do {
            let settings = try ServerSettings(
                flags: flags, environment: ProcessInfo.processInfo.environment, configPath: config)
            return try FleetInspector(settings)
        } catch {
            throw Exit.say("\(error)", code: .usage)
        }
    }

    /// A value as one JSON object, its members in the order of their names.
    static func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}
