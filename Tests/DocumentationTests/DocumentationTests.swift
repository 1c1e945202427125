import CisternProcesses
import CisternServer
import CisternTesting
import Foundation
import Testing

@Suite("The documents")
struct DocumentationTests {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
    }

    /// README, Architecture, and every article of the catalogs.
    private static func documents() throws -> [String] {
        let names =
            FileManager.default.enumerator(atPath: root.appendingPathComponent("Sources").path)?
            .compactMap { $0 as? String } ?? []
        let articles = names.filter { $0.hasSuffix(".md") && $0.contains(".docc/") }.map { "Sources/\($0)" }.sorted()
        try #require(articles.count >= 20)
        return ["README.md", "Architecture.md"] + articles
    }

    /// The fenced blocks of one language.
    private static func blocks(_ language: String, in text: String) -> [String] {
        var blocks: [String] = []
        var open: (language: Substring, lines: [Substring])?
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if let block = open, line == "```" {
                if block.language == language { blocks.append(block.lines.map { $0 + "\n" }.joined()) }
                open = nil
            } else if open != nil {
                open?.lines.append(line)
            } else if line.hasPrefix("```") {
                open = (line.dropFirst(3), [])
            }
        }
        return blocks
    }

    @Test("every Swift block is compiled: it is a part of an example beside this file")
    func swiftBlocks() throws {
        let folder = "Tests/DocumentationTests/Examples"
        let names = try FileManager.default.contentsOfDirectory(atPath: Self.root.appendingPathComponent(folder).path)
        let examples = try names.map { try Self.text("\(folder)/\($0)") }
        var count = 0
        for document in try Self.documents() {
            for block in Self.blocks("swift", in: try Self.text(document)) {
                count += 1
                #expect(
                    examples.contains { $0.contains(block) },
                    "\(document) has a Swift block that is not compiled:\n\(block)")
            }
        }
        #expect(count >= 20)
    }

    @Test("the Swift example runs and meters requests")
    func exampleRuns() async throws {
        let redis = try await RedisServer()
        // On a busy machine a store call may time out. The request is then unmetered and the text is "100 left".
        try await eventually("a metered answer") { try await ask("org-1", redis: redis.url) == "99 left" }
        try await redis.command("SET", "ratelimit:org-2:tokens", "0")
        #expect(try await ask("org-2", redis: redis.url).hasPrefix("retry in "))
    }

    @Test("every command block of the README prints what the README shows")
    func readmeCommands() async throws {
        let readme = try Self.text("README.md")
        let commands = Self.blocks("sh", in: readme)
        #expect(commands.count == 3 && commands[0] == "make run\n")
        let dryRun = try ChildProcess("make", ["-n", "-C", Self.root.path, "run"])
        #expect(try await dryRun.exitCode() == 0)
        #expect(
            dryRun.text.contains(
                "swift build -c release --product "
                    + "cistern") && dryRun.text.contains("/cistern\" serve"))

        let server = try await ListeningProcess(
            BuiltProduct.path("cistern"), ["serve", "--port", "0", "--admin-port", "0"])
        func run(_ command: String) async throws -> String {
            let text = command.replacing("localhost:8080", with: "127.0.0.1:\(server.port)")
            let process = try ChildProcess("bash", ["-c", text.replacing("curl -i ", with: "curl -s -i ")])
            _ = try await process.exitCode(within: 60)
            return process.text.replacing("\r\n", with: "\n")
        }
        let shown = try #require(Self.blocks("", in: readme).first)
        #expect(Self.masked(try await run(commands[1])) == Self.masked(shown))

        let counts = try await run(commands[2]).split(separator: "\n").map {
            $0.split(separator: " ").compactMap { Int($0) }
        }
        // The first hundred pass; a few more may, as tokens flow in meanwhile.
        #expect(counts.count == 2 && counts[0][1] == 200 && counts[1][1] == 429 && (100...119).contains(counts[0][0]))
        #expect(counts.reduce(0) { $0 + $1[0] } == 120)
    }

    /// A response without the dates and IDs, which differ each time.
    private static func masked(_ response: String) -> String {
        response.replacing(/Date: .*/, with: "Date")
            .replacing(/[0-9a-f]{8}-[0-9a-f-]{27}/, with: "ID")
            .replacing(/X-RateLimit-Reset: .*/, with: "Reset")
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    @Test("links between documents lead to files that exist")
    func links() throws {
        for document in try Self.documents() {
            let text = try Self.text(document)
            let folder = (document as NSString).deletingLastPathComponent
            for match in text.matches(of: /\]\(([A-Za-z][^):]*)\)/) {
                let target = Self.root.appendingPathComponent(folder).appendingPathComponent(String(match.1)).path
                #expect(FileManager.default.fileExists(atPath: target), "\(document) links to \(match.1)")
            }
            for match in text.matches(of: /<doc:(\w+)>/) {
                let target = Self.root.appendingPathComponent(folder).appendingPathComponent("\(match.1).md").path
                #expect(FileManager.default.fileExists(atPath: target), "\(document) links to \(match.1)")
            }
        }
    }

    @Test("the README has at most 200 lines, and Architecture.md at most 300")
    func lengths() throws {
        #expect(try Self.text("README.md").split(separator: "\n", omittingEmptySubsequences: false).count <= 201)
        #expect(try Self.text("Architecture.md").split(separator: "\n", omittingEmptySubsequences: false).count <= 301)
    }

    /// The reference of all settings, made from `Setting.all`.
    private static var settings: String {
        var lines = ["## All settings", ""]
        for setting in Setting.all {
            lines.append("### \(setting.name)")
            lines.append("")
            lines.append(contentsOf: wrapped(setting.help))
            lines.append("")
            var sources = setting.hasFlag ? ["- Flag: `\(setting.flag) <\(setting.placeholder)>`"] : []
            sources.append("- Variable: `\(setting.variable)`")
            if let standard = setting.standard { sources.append("- Default: `\(standard)`") }
            lines.append(contentsOf: sources + [""])
        }
        return lines.dropLast().map { $0 + "\n" }.joined()
    }

    private static func wrapped(_ text: String) -> [String] {
        var lines: [String] = []
        for word in text.split(separator: " ") {
            if let last = lines.indices.last, lines[last].count + 1 + word.count <= 118 {
                lines[last] += " " + word
            } else {
                lines.append(String(word))
            }
        }
        return lines
    }

    /// To write the list anew, set `CISTERN_WRITE_DOCUMENTS` and run this test.
    @Test("the article Configuration lists every setting as the program has it")
    func configuration() throws {
        let path = "Sources/CisternServer/CisternServer.docc/Configuration.md"
        let text = try Self.text(path)
        if ProcessInfo.processInfo.environment["CISTERN_WRITE_DOCUMENTS"] != nil {
            let start = text.range(of: "## All settings")?.lowerBound ?? text.endIndex
            let written = text[..<start].trimmingCharacters(in: .newlines) + "\n\n" + Self.settings
            try written.write(to: Self.root.appendingPathComponent(path), atomically: true, encoding: .utf8)
        }
        #expect(try Self.text(path).hasSuffix(Self.settings))
    }
}
