import Foundation
import Synchronization

/// A redis-server of a test's own, on a free port of 127.0.0.1, gone with it.
package final class RedisServer: Sendable {
    package let port: Int
    package let process: ChildProcess
    private let paused = Atomic(false)

    /// Starts a server and waits until it answers.
    ///
    /// - Parameters:
    ///   - arguments: further arguments, such as `--requirepass`.
    ///   - environment: variables for the server, such as a library to be loaded first.
    ///   - port: the port, for a server that comes back where another was; a free one unless given.
    package init(
        _ arguments: [String] = [], port: Int? = nil, tls: Bool = false, environment: [String: String] = [:]
    ) async throws {
        let arguments = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"] + arguments
        // Another process may take a port that was free a moment ago; then it is tried on another.
        for _ in 0..<5 {
            let chosen = try port ?? Socket.freePort()
            let listening = tls ? ["--port", "0", "--tls-port", "\(chosen)"] : ["--port", "\(chosen)"]
            let process = try ChildProcess("redis-server", listening + arguments, environment: environment)
            try await eventually("redis-server to start: \(process.text)") {
                process.text.contains("Ready to accept connections") || !process.isRunning
            }
            guard process.isRunning else { continue }
            self.port = chosen
            self.process = process
            return
        }
        throw ChildProcess.Failure(description: "redis-server does not start with \(arguments)")
    }

    package var url: String { "redis://127.0.0.1:\(port)" }

    /// Runs one command, given in the words of redis-cli, and returns what redis-cli prints in its raw form.
    @discardableResult
    package func command(_ words: String...) async throws -> String {
        try await command(words)
    }

    /// Runs one command, given in the words of redis-cli, and returns what redis-cli prints in its raw form.
    @discardableResult
    package func command(_ words: [String]) async throws -> String {
        let client = try ChildProcess("redis-cli", ["-p", "\(port)"] + words)
        let code = try await client.exitCode()
        guard code == 0 else { throw ChildProcess.Failure(description: "redis-cli \(words): \(client.text)") }
        return client.text.trimmingCharacters(in: .newlines)
    }

    /// Kills the server and waits for its end.
    package func kill() async throws {
        process.signal(SIGKILL)
        _ = try await process.exitCode()
    }

    /// Stops the server where it is: connections stay open, and nothing is answered.
    package func pause() {
        paused.store(true, ordering: .relaxed)
        process.signal(SIGSTOP)
    }

    /// Lets a paused server go on.
    package func resume() {
        process.signal(SIGCONT)
        paused.store(false, ordering: .relaxed)
    }

    /// Whether the server can answer: it runs, and is not paused.
    package var isAnswering: Bool { process.isRunning && !paused.load(ordering: .relaxed) }
}
