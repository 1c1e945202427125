import Cistern
import CisternTesting
import Foundation
import Testing

@Suite("The README")
struct ReadmeTests {
    private let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()

    @Test("shows the very lines that are compiled here")
    func example() throws {
        let readme = try String(contentsOf: folder.appendingPathComponent("../../README.md"), encoding: .utf8)
        let file = try String(contentsOf: folder.appendingPathComponent("EmbeddedExample.swift"), encoding: .utf8)
        let start = try #require(file.range(of: "// begin\n")).upperBound
        let end = try #require(file.range(of: "// end\n")).lowerBound
        #expect(readme.contains("```swift\n\(file[start..<end])```"))
    }

    @Test("shows an example that does what it says")
    func exampleRuns() async throws {
        let redis = try await RedisServer()
        let clock = Timeline(ContinuousClock())
        let limiter = try await makeLimiter(redis: redis.url, clock: clock)
        #expect(await handle("org-1", limiter, clock).hasPrefix("200, "))
        for _ in 0..<150 { _ = await handle("org-1", limiter, clock) }
        #expect(try await redis.command("EXISTS", "ratelimit:org-1:tokens") == "1")
    }
}
