internal import ArgumentParser
internal import CJemalloc
internal import CisternTesting
internal import Foundation
internal import UnixSignals

/// The `perf` command: load benchmarks.
@main
struct PerfCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "perf",
        abstract: "Measure Cistern on this machine, beside what it replaces.",
        discussion: """
            Without a subcommand: tiers. Figures are of the release build; a debug build runs that instead. Exit codes: \
            0; 1 where a count of --smoke is wrong; 64 for an argument that is wrong; 69 where something is missing or \
            ends early.
            """,
        subcommands: [
            TiersCommand.self, EngineCommand.self, HTTPCommand.self, LeasesCommand.self, BaselineCommand.self,
        ],
        defaultSubcommand: TiersCommand.self)

    static func main() async {
        let arguments = Array(CommandLine.arguments.dropFirst())
        ReleaseBuild.turnToIt(arguments)
        let work = Task { await run(arguments) }
        let interruption = Task {
            for await _ in await UnixSignalsSequence(trapping: .sigint, .sigterm, .sighup) {
                // What was started ends with the task that holds it.
                work.cancel()
                return
            }
        }
        let code = await work.value
        interruption.cancel()
        Foundation.exit(code)
    }

    /// Runs one command to its end, and says with what the process exits.
    private static func run(_ arguments: [String]) async -> Int32 {
        do {
            var command = try parseAsRoot(arguments)
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
            return 0
        } catch let error as PerfError {
            complain(error.description)
            return error.code.rawValue
        } catch is CancellationError {
            complain("interrupted; what was started has been stopped")
            return 130
        } catch let failure as ChildProcess.Failure {
            complain(failure.description)
            return PerfError.Code.unavailable.rawValue
        } catch let failure as Socket.Failure {
            complain("\(failure.description): something that was measured has gone away")
            return PerfError.Code.unavailable.rawValue
        } catch {
            let code = exitCode(for: error)
            let text = fullMessage(for: error)
            let handle = code == .success ? FileHandle.standardOutput : .standardError
            if !text.isEmpty { handle.write(Data((text + "\n").utf8)) }
            return code.rawValue
        }
    }

    private static func complain(_ text: String) {
        // Over the bar, where there is one.
        let start = isatty(STDERR_FILENO) == 1 ? "\r\u{1b}[K" : ""
        FileHandle.standardError.write(Data("\(start)perf: \(text)\n".utf8))
    }
}
