internal import ArgumentParser
internal import Cistern
internal import CisternServer
internal import Foundation

/// `cistern check`: validates a limits or settings file without a server.
struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check a limits or settings file.",
        discussion: """
            A file with the field default or organizations is read as a limits file, any other as a settings file. \
            The check applies the server's rules and makes no connections. Exit codes: 0 if the file is valid; 65 if \
            it is not, with line, field and remedy; 66 if it cannot be read.
            """)

    @Argument(help: "The file.") var file: String

    func run() async throws {
        guard FileManager.default.isReadableFile(atPath: file) else {
            throw Exit.say("\(file): the file cannot be read: no such file, or no permission", code: .noInput)
        }
        do {
            print(try FileCheck.describe(file))
        } catch {
            throw Exit.say("\(error)", code: .data)
        }
    }
}
