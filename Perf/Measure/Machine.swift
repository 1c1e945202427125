internal import CisternProcesses
internal import Foundation

/// The machine and software of a measurement.
struct Machine: Codable, Sendable {
    let cores: Int
    /// The processor's model as the system names it.
    let processor: String
    let memoryGibibytes: Int
    let system: String
    /// The version of redis-server; nil if it is not installed.
    let redis: String?
    /// The commit of the working tree, with "+" if files have changed since; nil outside of a working tree.
    let commit: String?
    /// Whether the optimizer was on: release or debug.
    let build: String

    #if DEBUG
        static let isRelease = false
    #else
        static let isRelease = true
    #endif

    /// Returns a description of this machine.
    static func current() async -> Machine {
        let process = ProcessInfo.processInfo
        let redis = await output(of: "redis-server", ["--version"])?.firstMatch(of: /v=([0-9.]+)/)?.1
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path
        var commit = await output(of: "git", ["-C", folder, "rev-parse", "--short", "HEAD"])
        if commit != nil, await output(of: "git", ["-C", folder, "status", "--porcelain"])?.isEmpty == false {
            commit?.append("+")
        }
        return Machine(
            cores: process.activeProcessorCount, processor: processorModel(),
            memoryGibibytes: Int((Double(process.physicalMemory) / 1_073_741_824).rounded()),
            system: process.operatingSystemVersionString, redis: redis.map(String.init), commit: commit,
            build: isRelease ? "release" : "debug")
    }

    private static func processorModel() -> String {
        let text = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        return text.firstMatch(of: /model name\s*:\s*(.+)/).map { String($0.1) } ?? "unknown processor"
    }

    private static func output(of program: String, _ arguments: [String]) async -> String? {
        guard let process = try? ChildProcess(program, arguments), (try? await process.exitCode()) == 0 else {
            return nil
        }
        return process.text.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// A one-line summary.
    var summary: String {
        "\(cores) cores of \(processor), \(memoryGibibytes) GiB, \(system), "
            + "Redis \(redis ?? "none"), commit \(commit ?? "unknown"), \(build) build"
    }
}
