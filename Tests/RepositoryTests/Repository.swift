import Foundation

/// The files of this repository, read as text.
enum Repository {
    static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    struct File {
        /// The path below the root.
        let path: String
        let text: String

        var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }

        /// The lines without comments and without the contents of string literals.
        var code: [String] {
            lines.map { line in
                let text = line.drop { $0 == " " }
                if text.hasPrefix("//") { return "" }
                return String(line.replacing(/"([^"\\]|\\.)*"/, with: "\"\"").replacing(/\/\/.*$/, with: ""))
            }
        }

        /// The modules that the file imports.
        var imports: [String] {
            code.compactMap { line in
                let words = line.split(separator: " ").map(String.init)
                guard let keyword = words.firstIndex(of: "import"), keyword <= 2, words.count > keyword + 1 else {
                    return nil
                }
                return words[keyword + 1]
            }
        }
    }

    static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
    }

    /// The Swift files below a folder.
    static func swiftFiles(below folder: String) throws -> [File] {
        let base = root.appendingPathComponent(folder)
        let names = FileManager.default.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? []
        return try names.filter { $0.hasSuffix(".swift") }.sorted().map { name in
            File(path: "\(folder)/\(name)", text: try text("\(folder)/\(name)"))
        }
    }

    /// README, Architecture, every article, the Makefile, and the dashboard's files.
    static func documents() throws -> [File] {
        let names =
            FileManager.default.enumerator(atPath: root.appendingPathComponent("Sources").path)?
            .compactMap { $0 as? String } ?? []
        let endings = [".md", ".js", ".css", ".html"]
        let paths = names.filter { name in endings.contains { name.hasSuffix($0) } }.map { "Sources/\($0)" }
        return try (["README.md", "Architecture.md", "Makefile"] + paths.sorted()).map {
            File(path: $0, text: try text($0))
        }
    }
}
