internal import Foundation
internal import Synchronization

/// A child process of a test, killed when this object is released.
package final class ChildProcess: Sendable {
    /// An error of a child process, or of a wait in a test.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String

        package init(description: String) {
            self.description = description
        }
    }

    /// In a mutex, because `Process` is not thread-safe.
    private let process: Mutex<Process>
    /// The output goes to a file, because children of other tests would inherit the write end of a pipe.
    private let output = FileManager.default.temporaryDirectory.appendingPathComponent("cistern-\(UUID().uuidString)")
    package let processIdentifier: Int32

    /// Starts a program, given by its path or by its name in the usual folders.
    package init(_ program: String, _ arguments: [String], environment: [String: String] = [:]) throws {
        let process = Process()
        process.executableURL = try Self.locate(program)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment
            .filter { !$0.key.hasPrefix("CISTERN_") }
            .merging(environment) { $1 }
        guard FileManager.default.createFile(atPath: output.path, contents: nil) else {
            throw Failure(description: "cannot write to \(output.path)")
        }
        let handle = try FileHandle(forWritingTo: output)
        process.standardOutput = handle
        process.standardError = handle
        process.standardInput = FileHandle.nullDevice
        try process.run()
        processIdentifier = process.processIdentifier
        self.process = Mutex(process)
    }

    deinit {
        // SIGKILL ends a stopped process, too.
        signal(SIGKILL)
        try? FileManager.default.removeItem(at: output)
    }

    /// Standard output and standard error so far.
    package var text: String { (try? String(contentsOf: output, encoding: .utf8)) ?? "" }

    package var isRunning: Bool { endCode == nil }

    /// The exit code, or minus the number of the signal that ended the process; nil while it runs.
    private var endCode: Int32? {
        process.withLock { process in
            guard process.isRunning else {
                return process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
            }
            // On Linux, a socket tells Foundation that the process has ended. Another process that starts at the same
            // moment may inherit the socket, and so delay the notice until its own end. So ask the system, too.
            var info = siginfo_t()
            let result = waitid(P_PID, id_t(processIdentifier), &info, WEXITED | WNOHANG | WNOWAIT)
            guard result == 0, info.si_signo == SIGCHLD else { return nil }
            #if os(Linux)
                let status = info._sifields._sigchld.si_status
            #else
                let status = info.si_status
            #endif
            return info.si_code == CLD_EXITED ? status : -status
        }
    }

    /// Sends a signal if the process still runs.
    package func signal(_ number: Int32) {
        if isRunning { kill(processIdentifier, number) }
    }

    /// Waits for the end of the process and returns its exit code, or minus the signal that ended it.
    package func exitCode(within seconds: Double = 30) async throws -> Int32 {
        var code: Int32 = 0
        try await eventually("the process to end; it wrote:\n\(text)", within: seconds) {
            guard let end = self.endCode else { return false }
            code = end
            return true
        }
        return code
    }

    private static func locate(_ program: String) throws -> URL {
        if program.contains("/") { return URL(fileURLWithPath: program) }
        let folders = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/bin"]
        guard let folder = folders.first(where: { FileManager.default.isExecutableFile(atPath: "\($0)/\(program)") })
        else {
            throw Failure(description: "\(program) is not installed: 'make install' or 'make install-test' installs it")
        }
        return URL(fileURLWithPath: "\(folder)/\(program)")
    }
}

/// Polls a condition every few milliseconds until it holds.
///
/// - Throws: `ChildProcess.Failure` if the condition holds neither within the time nor in the first 20 checks.
package func eventually(
    _ what: @autoclosure () -> String, within seconds: Double = 20, _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + .seconds(seconds)
    // A minimum number of checks: if other tests keep every thread busy until the deadline, the awaited event has had
    // no chance to happen.
    let fewestLooks = 20
    var looks = 0
    while true {
        if try await condition() { return }
        looks += 1
        guard looks < fewestLooks || ContinuousClock.now < deadline else {
            throw ChildProcess.Failure(description: "timed out (\(seconds) s, \(looks) checks) waiting for \(what())")
        }
        try await Task.sleep(for: .milliseconds(5))
    }
}

/// Locates executables of this package.
package enum BuiltProduct {
    /// The path of an executable.
    package static func path(_ name: String) -> String {
        // The main bundle is an .xctest bundle beside the products or, on Linux, the folder of the products.
        let bundle = Bundle.main.bundleURL
        let folder = bundle.path.hasSuffix(".xctest") ? bundle.deletingLastPathComponent() : bundle
        return folder.appendingPathComponent(name).path
    }
}
