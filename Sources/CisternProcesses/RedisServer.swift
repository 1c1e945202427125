internal import Foundation
internal import Synchronization

/// A redis-server for one test on a free port of 127.0.0.1, killed when this object is released.
package final class RedisServer: Sendable {
    package let port: Int
    package let process: ChildProcess
    private let paused = Atomic(false)

    /// Starts a server and waits until it accepts connections.
    ///
    /// - Parameters:
    ///   - arguments: further arguments, such as `--requirepass`.
    ///   - environment: further environment variables of the server, such as `LD_PRELOAD`.
    ///   - port: the port, to restart a server on the port of an earlier one; nil for a free port.
    ///   - program: the server, which may be another one with the options and messages of redis-server.
    package init(
        _ arguments: [String] = [], port: Int? = nil, tls: Bool = false, environment: [String: String] = [:],
        program: String = "redis-server"
    ) async throws {
        let arguments = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"] + arguments
        // Another process may have taken the free port meanwhile; then try another port.
        for _ in 0..<5 {
            let chosen = try port ?? Socket.freePort()
            let listening = tls ? ["--port", "0", "--tls-port", "\(chosen)"] : ["--port", "\(chosen)"]
            let process = try ChildProcess(program, listening + arguments, environment: environment)
            try await eventually("\(program) to start: \(process.text)") {
                process.text.contains("Ready to accept connections") || !process.isRunning
            }
            guard process.isRunning else { continue }
            self.port = chosen
            self.process = process
            return
        }
        throw ChildProcess.Failure(description: "\(program) does not start with \(arguments)")
    }

    package var url: String { "redis://127.0.0.1:\(port)" }

    /// Runs one command with redis-cli and returns its raw output.
    @discardableResult
    package func command(_ words: String...) async throws -> String {
        try await command(words)
    }

    /// Runs one command with redis-cli and returns its raw output.
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

    /// Suspends the server: connections stay open, but no command gets a reply.
    package func pause() {
        paused.store(true, ordering: .relaxed)
        process.signal(SIGSTOP)
    }

    /// Resumes a paused server.
    package func resume() {
        process.signal(SIGCONT)
        paused.store(false, ordering: .relaxed)
    }

    /// Whether the server can answer: it runs, and is not paused.
    package var isAnswering: Bool { process.isRunning && !paused.load(ordering: .relaxed) }
}
