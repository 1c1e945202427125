import CisternTesting
import Foundation

/// A `cistern serve` of a test's own, as it was built with the tests.
final class CisternProcess {
    private let server: ListeningProcess

    var process: ChildProcess { server.process }
    var port: Int { server.port }
    /// The operators' plane.
    var admin: AdminClient { AdminClient(port: adminPort) }

    private var adminPort: Int {
        let match = process.text.firstMatch(of: /operators' plane listens","address":"http:[^"]*:(\d+)"/)
        return match.flatMap { Int($0.1) } ?? 0
    }

    /// Starts a server on a free port and waits until it listens.
    ///
    /// - Parameter launcher: a program that runs it, with arguments; that of `CISTERN_TEST_LAUNCHER` unless given.
    ///
    /// One that schedules something on an event loop that has ended does not end with 0: SwiftNIO traps.
    init(
        _ arguments: [String] = [], launcher: [String] = CisternProcess.launcher, environment: [String: String] = [:]
    ) async throws {
        let command = launcher + [launcher.isEmpty ? Self.program : try Self.readableProgram.get(), "serve"]
        server = try await ListeningProcess(
            command[0], Array(command.dropFirst()) + ["--port", "0", "--admin-port", "0"] + arguments,
            environment: environment.merging(["SWIFTNIO_STRICT": "1"]) { given, _ in given })
        // The log is written by a thread of its own, perhaps a moment later.
        guard !arguments.contains("--admin-port"), !arguments.contains("error") else { return }
        let process = server.process
        try await eventually("the operators' plane to be logged") { process.text.contains("operators' plane listens") }
    }

    /// Runs the command with any arguments.
    static func run(_ arguments: [String], environment: [String: String] = [:]) throws -> ChildProcess {
        try ChildProcess(program, arguments, environment: environment)
    }

    /// What every server is run with, such as setpriv to be without privileges.
    static let launcher: [String] =
        (ProcessInfo.processInfo.environment["CISTERN_TEST_LAUNCHER"] ?? "").split(separator: " ").map(String.init)

    /// A user without privileges, as a launcher; none where the tests have none themselves.
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

    /// A connection on which all of a request but its last byte has been sent, and the server is known to be reading it.
    func connectHalfway() throws -> Socket {
        let connection = try connect()
        let headers = ["x-org-id: org-1", "x-user-id: u", "Content-Length: 2", "Expect: 100-continue"]
        let reply = try connection.exchange(HTTPRequestText.plain("POST", "/chat", headers))
        guard reply.status == 100 else { throw Socket.Failure(description: "\(reply) instead of 100 Continue") }
        try connection.send("h")
        return connection
    }

    /// Sends a request on a connection of its own.
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

/// Sends `count` requests of one organization at once, each on a connection of its own, spread over servers.
func burst(_ count: Int, of organization: String, at servers: [CisternProcess]) throws -> [Int] {
    let connections = try (0..<count).map { try servers[$0 % servers.count].connect() }
    for connection in connections { try connection.send(HTTPRequestText.chat(organization)) }
    return try connections.map { try $0.replies(1).first?.status ?? 0 }
}
