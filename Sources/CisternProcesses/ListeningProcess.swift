internal import Foundation

/// A server process that prints `listening on http://127.0.0.1:PORT` once it serves.
package final class ListeningProcess: Sendable {
    package let process: ChildProcess
    package let port: Int

    /// Starts a server and waits until it listens.
    package init(_ program: String, _ arguments: [String], environment: [String: String] = [:]) async throws {
        let process = try ChildProcess(program, arguments, environment: environment)
        self.process = process
        var found: Int?
        try await eventually("\(program) to listen; it wrote:\n\(process.text)") {
            let match = process.text.firstMatch(of: /listening on http:\/\/127\.0\.0\.1:(\d+)\n/)
            found = match.flatMap { Int($0.1) }
            return found != nil || !process.isRunning
        }
        guard let found else { throw ChildProcess.Failure(description: "\(program) ended: \(process.text)") }
        port = found
    }
}
