import Foundation
import Testing

@testable import CisternServer

@Suite("The conventions")
struct ConventionTests {
    private func everyFile() throws -> [Repository.File] {
        try ["Sources", "Perf", "Tests"].flatMap { try Repository.swiftFiles(below: $0) }
    }

    @Test("a file has at most 400 lines")
    func fileLength() throws {
        for file in try everyFile() { #expect(file.lines.count <= 401, "\(file.path) has \(file.lines.count) lines") }
    }

    @Test("no line is longer than 120 columns")
    func columns() throws {
        for file in try everyFile() + Repository.documents() {
            for (number, line) in file.lines.enumerated() where line.count > 120 {
                Issue.record("\(file.path):\(number + 1) has \(line.count) columns")
            }
        }
    }

    @Test("a comment is at most three lines long, except before declarations and at the start of a file")
    func commentLength() throws {
        for file in try everyFile() {
            var start: Int?
            for (number, line) in file.lines.enumerated() {
                let text = line.drop { $0 == " " }
                let isComment = text.hasPrefix("//") && !text.hasPrefix("///")
                if isComment, start == nil { start = number }
                guard !isComment, let first = start else { continue }
                start = nil
                #expect(first == 0 || number - first <= 3, "\(file.path):\(first + 1) has \(number - first) lines")
            }
        }
    }

    @Test("before an internal member, a doc comment without a list of parameters has at most three lines of text")
    func docCommentLength() throws {
        let attributes = /(@\w+(\([^)]*\))? ?)+/
        let documented = /public|package|((private|fileprivate|final|indirect) )*(struct|class|enum|actor|protocol)\b/
        for file in try everyFile() {
            var comment: [Substring] = []
            for (number, line) in file.lines.enumerated() {
                let text = line.drop { $0 == " " }.trimmingPrefix(attributes)
                if text.hasPrefix("///") {
                    comment.append(text)
                } else if !text.isEmpty {
                    let length = comment.count { $0 != "///" }
                    let isShort = length <= 3 || comment.contains { $0.hasPrefix("/// - ") }
                    let isExempt = text.prefixMatch(of: documented) != nil
                    #expect(isShort || isExempt, "\(file.path):\(number + 1) has \(length) lines of doc comment")
                    comment = []
                }
            }
        }
    }

    @Test("every import outside Tests has an access level")
    func importLevels() throws {
        for file in try everyFile() where !file.path.hasPrefix("Tests/") {
            for line in file.code where line.hasPrefix("import ") {
                Issue.record("\(file.path): \(line) has no access level")
            }
        }
    }

    @Test("no file forces a try or cast, silences a check or leaves a note for later")
    func noBannedWords() throws {
        let banned = [
            "try" + "!", "as" + "!", "nonisolated" + "(unsafe)", ".disabled" + "(", "withKnown" + "Issue",
            "fatal" + "Error(",
        ]
        let notes = ["TO" + "DO", "FIX" + "ME", "XX" + "X"]
        for file in try everyFile() {
            let code = file.code
            for word in banned { #expect(!code.contains { $0.contains(word) }, "\(file.path) uses \(word)") }
            for word in notes { #expect(!file.text.contains(word), "\(file.path) says \(word)") }
        }
    }

    @Test("every unchecked Sendable conformance has a comment that proves it")
    func uncheckedSendable() throws {
        let proof = "/// Sendable, unchecked: "
        var count = 0
        for file in try everyFile() {
            for (number, line) in file.code.enumerated() where line.contains("@unchecked" + " Sendable") {
                count += 1
                let comment = file.lines[..<number].reversed().prefix { $0.hasPrefix("///") }
                #expect(comment.contains { $0.hasPrefix(proof) }, "\(file.path):\(number + 1) has no proof")
            }
        }
        #expect(count == 2, "only the lock-striped table and the prefetch hints need it")
    }

    @Test("every test that Architecture.md names exists")
    func architectureNamesTests() throws {
        let text = try Repository.text("Architecture.md")
        let tests = try Repository.swiftFiles(below: "Tests")
        let named = text.matches(of: /`(\w+Tests)\.(\w+)`/)
        #expect(named.count >= 10)
        for match in named {
            let found = tests.contains { file in
                file.text.contains("struct \(match.1)") || file.text.contains("class \(match.1)")
                    ? file.text.contains("func \(match.2)(") : false
            }
            #expect(found, "there is no test \(match.1).\(match.2)")
        }
    }
}
