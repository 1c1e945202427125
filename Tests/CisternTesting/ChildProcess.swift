import Foundation
import Synchronization

/// A process that a test starts and that ends with it.
package final class ChildProcess: Sendable {
    /// What the process could not be made to do.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String

        package init(description: String) {
            self.description = description
        }
    }

    /// Guarded, since Foundation's process is not made for several threads.
    private let process: Mutex<Process>
    /// A file takes the output, not a pipe: children that other tests start meanwhile would inherit the pipe's end.
    private let output = FileManager.default.temporaryDirectory.appendingPathComponent("cistern-\(UUID().uuidString)")
    package let processIdentifier: Int32

    /// Starts a program, found by its path or by name in the usual places.
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

    /// The exit code, or minus the signal that ended the process; nil as long as it runs.
    ///
    /// The system is asked where Foundation says that it runs: on Linux that learns of the end by a socket, which a process that is
    /// started at the same moment inherits, and then not before that one has ended, too.
    private var endCode: Int32? {
        process.withLock { process in
            guard process.isRunning else {
                return process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
            }
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

    /// Sends a signal, if the process is still there.
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

/// Waits until a condition holds, looking every few milliseconds.
///
/// - Throws: `ChildProcess.Failure`, where it holds neither within the time nor at one of the first 20 looks.
package func eventually(
    _ what: @autoclosure () -> String, within seconds: Double = 20, _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + .seconds(seconds)
    // Where other tests have kept every thread busy for as long, what is waited for has not had its turn either.
    let fewestLooks = 20
    var looks = 0
    while true {
        if try await condition() { return }
        looks += 1
        guard looks < fewestLooks || ContinuousClock.now < deadline else {
            throw ChildProcess.Failure(description: "waited \(seconds) s and \(looks) looks in vain for \(what())")
        }
        try await Task.sleep(for: .milliseconds(5))
    }
}

/// An executable that was built with this one.
package enum BuiltProduct {
    /// Where it is.
    package static func path(_ name: String) -> String {
        // Tests run from a bundle beside the products; on Linux, from one of the products' folder.
        let bundle = Bundle.main.bundleURL
        let folder = bundle.path.hasSuffix(".xctest") ? bundle.deletingLastPathComponent() : bundle
        return folder.appendingPathComponent(name).path
    }
}
