import Foundation
import Synchronization

/// A process that a test starts and that ends with it.
public final class ChildProcess: Sendable {
    /// What the process could not be made to do.
    public struct Failure: Error, CustomStringConvertible {
        public let description: String

        public init(description: String) {
            self.description = description
        }
    }

    /// Guarded, since Foundation's process is not made for several threads.
    private let process: Mutex<Process>
    private let output = Mutex("")
    public let processIdentifier: Int32

    /// Starts a program, found by its path or by name in the usual places.
    public init(_ program: String, _ arguments: [String], environment: [String: String] = [:]) throws {
        let process = Process()
        process.executableURL = try Self.locate(program)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment
            .filter { !$0.key.hasPrefix("CISTERN_") }
            .merging(environment) { $1 }
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        try process.run()
        processIdentifier = process.processIdentifier
        self.process = Mutex(process)
        pipe.fileHandleForReading.readabilityHandler = { [weak self] handle in
            let data = handle.availableData
            guard !data.isEmpty else { return handle.readabilityHandler = nil }
            self?.output.withLock { $0 += String(decoding: data, as: UTF8.self) }
        }
    }

    deinit {
        kill(processIdentifier, SIGCONT)
        signal(SIGKILL)
    }

    /// Standard output and standard error so far.
    public var text: String { output.withLock { $0 } }

    public var isRunning: Bool { process.withLock { $0.isRunning } }

    /// Sends a signal, if the process is still there.
    public func signal(_ number: Int32) {
        process.withLock { if $0.isRunning { kill($0.processIdentifier, number) } }
    }

    /// Waits for the end of the process and returns its exit code, or minus the signal that ended it.
    public func exitCode(within seconds: Double = 30) async throws -> Int32 {
        try await eventually("the process to end; it wrote:\n\(text)", within: seconds) { !self.isRunning }
        // The pipe may still hold the last words.
        try await eventually("the last output", within: 1) { true }
        return process.withLock {
            $0.terminationReason == .exit ? $0.terminationStatus : -$0.terminationStatus
        }
    }

    private static func locate(_ program: String) throws -> URL {
        if program.contains("/") { return URL(fileURLWithPath: program) }
        let folders = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/bin"]
        guard let folder = folders.first(where: { FileManager.default.isExecutableFile(atPath: "\($0)/\(program)") })
        else { throw Failure(description: "\(program) is not installed: 'make test' installs what tests need") }
        return URL(fileURLWithPath: "\(folder)/\(program)")
    }
}

/// Waits until a condition holds, looking every few milliseconds.
///
/// - Throws: `ChildProcess.Failure`, where it does not hold within the time.
public func eventually(
    _ what: @autoclosure () -> String, within seconds: Double = 20, _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while true {
        if try await condition() { return }
        guard ContinuousClock.now < deadline else {
            throw ChildProcess.Failure(description: "waited \(seconds) s in vain for \(what())")
        }
        try await Task.sleep(for: .milliseconds(5))
    }
}
