import CisternProcesses
import CisternTesting
import Foundation
import Testing

@Suite("Child processes")
struct ChildProcessTests {
    @Test("the end of a process is noticed at once, even if a process started at the same moment goes on")
    func endsBesideOthers() async throws {
        try await withThrowingTaskGroup(of: Int32.self) { group in
            for number in 0..<100 {
                group.addTask {
                    // It may inherit the descriptors that Foundation opens for the second process.
                    let other = try ChildProcess("sleep", ["100"])
                    defer { other.signal(SIGKILL) }
                    return try await ChildProcess("sh", ["-c", "exit \(number % 3)"]).exitCode(within: 20)
                }
            }
            var codes: [Int32: Int] = [:]
            for try await code in group { codes[code, default: 0] += 1 }
            #expect(codes == [0: 34, 1: 33, 2: 33])
        }
    }

    @Test("the exit code of a killed process is minus the number of the signal")
    func signals() async throws {
        let process = try ChildProcess("sleep", ["100"])
        #expect(process.isRunning)
        process.signal(SIGKILL)
        #expect(try await process.exitCode() == -SIGKILL)
        #expect(!process.isRunning)
    }
}
