import CisternTesting
import Foundation
import Testing

@Suite("Processes that tests start")
struct ChildProcessTests {
    @Test("are known to have ended as soon as they have, whatever is started at the same moment and goes on")
    func endsBesideOthers() async throws {
        try await withThrowingTaskGroup(of: Int32.self) { group in
            for number in 0..<100 {
                group.addTask {
                    // It may inherit whatever Foundation opens for the other.
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

    @Test("tell the signal that ended them")
    func signals() async throws {
        let process = try ChildProcess("sleep", ["100"])
        #expect(process.isRunning)
        process.signal(SIGKILL)
        #expect(try await process.exitCode() == -SIGKILL)
        #expect(!process.isRunning)
    }
}
