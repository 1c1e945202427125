internal import ArgumentParser
internal import CJemalloc
internal import CisternProcesses
internal import Foundation
internal import UnixSignals

/// The `perf` command: load benchmarks.
@main
struct PerfCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "perf",
        abstract: "Benchmark Cistern on this machine, next to the limiters that it replaces.",
        discussion: """
            Without a subcommand, runs tiers. A debug build starts the release build instead, except with --smoke. \
            Exit codes: 0 for success, 1 if a count of --smoke is wrong, 64 for an invalid argument, 69 if a required \
            program, file or server is missing or ends early.
            """,
        subcommands: [
            TiersCommand.self, EngineCommand.self, HTTPCommand.self, LeasesCommand.self, BaselineCommand.self,
        ],
        defaultSubcommand: TiersCommand.self)

    static func main() async {
        let arguments = Array(CommandLine.arguments.dropFirst())
        ReleaseBuild.reexecute(arguments)
        let work = Task { await run(arguments) }
        let interruption = Task {
            for await _ in await UnixSignalsSequence(trapping: .sigint, .sigterm, .sighup) {
                // Started processes end with the task that owns them.
                work.cancel()
                return
            }
        }
        let code = await work.value
        interruption.cancel()
        Foundation.exit(code)
    }

    /// Runs one command to its end, and returns the exit code of the process.
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
            logFailure(error.description)
            return error.code.rawValue
        } catch is CancellationError {
            logFailure("interrupted; all started processes have been stopped")
            return 130
        } catch let failure as ChildProcess.Failure {
            logFailure(failure.description)
            return PerfError.Code.unavailable.rawValue
        } catch let failure as Socket.Failure {
            logFailure("\(failure.description): a server under measurement is no longer reachable")
            return PerfError.Code.unavailable.rawValue
        } catch {
            let code = exitCode(for: error)
            let text = fullMessage(for: error)
            let handle = code == .success ? FileHandle.standardOutput : .standardError
            if !text.isEmpty { handle.write(Data((text + "\n").utf8)) }
            return code.rawValue
        }
    }

    private static func logFailure(_ text: String) {
        // Overwrites the progress bar, if there is one.
        let start = isatty(STDERR_FILENO) == 1 ? "\r\u{1b}[K" : ""
        FileHandle.standardError.write(Data("\(start)perf: \(text)\n".utf8))
    }
}
