internal import ArgumentParser
internal import Cistern
internal import CisternServer
internal import Foundation

/// `cistern check`: says whether a file can be used, without a server.
struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check a file of limits or of settings.",
        discussion: """
            A file with default or organizations is one of limits, any other one of settings; it is read as a server would \
            read it, and nothing is connected to. Exit codes: 0 where it can be used, 65 where it is wrong, with the line, \
            the field and what would be right, 66 where it cannot be read.
            """)

    @Argument(help: "The file.") var file: String

    func run() async throws {
        guard FileManager.default.isReadableFile(atPath: file) else {
            throw Exit.say("\(file): it cannot be read: there is no such file, or no permission", code: .noInput)
        }
        do {
            print(try FileCheck.describe(file))
        } catch {
            throw Exit.say("\(error)", code: .data)
        }
    }
}
