import CisternProcesses
import CisternTesting
import Foundation

/// A `cistern serve` process for one test, from the same build as the tests.
final class CisternProcess {
    private let server: ListeningProcess

    var process: ChildProcess { server.process }
    var port: Int { server.port }
    /// A client of the admin interface.
    var admin: AdminClient { AdminClient(port: adminPort) }

    private var adminPort: Int {
        let match = process.text.firstMatch(of: /admin interface is listening","address":"http:[^"]*:(\d+)"/)
        return match.flatMap { Int($0.1) } ?? 0
    }

    /// Starts a server on a free port and waits until it listens.
    ///
    /// If the server schedules work on an event loop that has ended, SwiftNIO traps, and the exit code is not 0.
    ///
    /// - Parameter launcher: the command that runs the server; by default that of `CISTERN_TEST_LAUNCHER`.
    init(
        _ arguments: [String] = [], launcher: [String] = CisternProcess.launcher, environment: [String: String] = [:]
    ) async throws {
        let command = launcher + [launcher.isEmpty ? Self.program : try Self.readableProgram.get(), "serve"]
        server = try await ListeningProcess(
            command[0], Array(command.dropFirst()) + ["--port", "0", "--admin-port", "0"] + arguments,
            environment: environment.merging(["SWIFTNIO_STRICT": "1"]) { given, _ in given })
        // A separate thread writes the log, perhaps a moment later.
        guard !arguments.contains("--admin-port"), !arguments.contains("error") else { return }
        let process = server.process
        try await eventually("the admin port to be logged") { process.text.contains("admin interface is listening") }
    }

    /// Runs the command with any arguments.
    static func run(_ arguments: [String], environment: [String: String] = [:]) throws -> ChildProcess {
        try ChildProcess(program, arguments, environment: environment)
    }

    /// The command that runs every server, such as setpriv to drop its privileges.
    static let launcher: [String] =
        (ProcessInfo.processInfo.environment["CISTERN_TEST_LAUNCHER"] ?? "").split(separator: " ").map(String.init)

    /// A launcher that drops all privileges; empty if the tests run without privileges themselves.
    static var unprivileged: [String] {
        guard getuid() == 0 else { return [] }
        return [
            "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
        ]
    }

    /// A copy of the program where any user can run it.
    static let readableProgram = Result {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("cistern-program-\(getpid())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let copy = folder.appendingPathComponent("cistern")
        if !FileManager.default.fileExists(atPath: copy.path) {
            try FileManager.default.copyItem(atPath: program, toPath: copy.path)
        }
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: folder.path)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: copy.path)
        return copy.path
    }

    private static var program: String { BuiltProduct.path("cistern") }

    func connect() throws -> Socket {
        try Socket(port: port)
    }

    /// Opens a connection and sends all but the last byte of a request, which the server has begun to read.
    func connectHalfway() throws -> Socket {
        let connection = try connect()
        let headers = ["x-org-id: org-1", "x-user-id: u", "Content-Length: 2", "Expect: 100-continue"]
        let reply = try connection.exchange(HTTPRequestText.plain("POST", "/chat", headers))
        guard reply.status == 100 else { throw Socket.Failure(description: "\(reply) instead of 100 Continue") }
        try connection.send("h")
        return connection
    }

    /// Sends a request on a new connection.
    func exchange(_ text: String) throws -> HTTPReply {
        try connect().exchange(text)
    }

    func get(_ path: String) throws -> String {
        try exchange(HTTPRequestText.plain("GET", path)).body
    }

    /// The value of one line of `/metrics`.
    func metric(_ name: String) throws -> Double? {
        try get("/metrics").split(separator: "\n").first { $0.hasPrefix(name + " ") }
            .flatMap { Double($0.dropFirst(name.utf8.count + 1)) }
    }
}

/// Sends `count` requests of one organization at once, each on its own connection, spread over servers.
func burst(_ count: Int, of organization: String, at servers: [CisternProcess]) throws -> [Int] {
    let connections = try (0..<count).map { try servers[$0 % servers.count].connect() }
    for connection in connections { try connection.send(HTTPRequestText.chat(organization)) }
    return try connections.map { try $0.replies(1).first?.status ?? 0 }
}
