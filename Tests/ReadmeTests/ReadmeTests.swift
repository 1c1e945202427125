import Cistern
import CisternTesting
import Foundation
import Testing

@Suite("The README")
struct ReadmeTests {
    private let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()

    @Test("the README shows exactly the lines that are compiled here")
    func example() throws {
        let readme = try String(contentsOf: folder.appendingPathComponent("../../README.md"), encoding: .utf8)
        let file = try String(contentsOf: folder.appendingPathComponent("EmbeddedExample.swift"), encoding: .utf8)
        let start = try #require(file.range(of: "// begin\n")).upperBound
        let end = try #require(file.range(of: "// end\n")).lowerBound
        #expect(readme.contains("```swift\n\(file[start..<end])```"))
    }

    @Test("the README's example runs and meters requests")
    func exampleRuns() async throws {
        let redis = try await RedisServer()
        // On a busy machine a store call may time out. The request is then unmetered and the text is "100 left".
        try await eventually("a metered answer") { try await ask("org-1", redis: redis.url) == "99 left" }
        try await redis.command("SET", "ratelimit:org-2:tokens", "0")
        #expect(try await ask("org-2", redis: redis.url).hasPrefix("retry in "))
    }
}
