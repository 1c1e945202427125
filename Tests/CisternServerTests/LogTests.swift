import Foundation
import Logging
import Synchronization
import Testing

@testable import CisternServer

@Suite("The log")
struct LogTests {
    private final class Output: Sendable {
        private let text = Mutex<[String]>([])
        let clock = Mutex(Date(timeIntervalSince1970: 1_707_042_610.5))

        func add(_ line: String) { text.withLock { $0.append(line) } }
        var lines: [String] { text.withLock { $0 } }
        func wait(seconds: Double) { clock.withLock { $0 += seconds } }
    }

    private func logger(_ format: LineLogHandler.Format, to output: Output) -> Logger {
        let throttle = WarningThrottle()
        return Logger(label: "test") { _ in
            LineLogHandler(format: format, throttle: throttle, now: { output.clock.withLock { $0 } }) {
                output.add($0)
            }
        }
    }

    @Test("is lines for people on a terminal, whatever stands in them")
    func text() {
        let output = Output()
        let metadata: Logger.Metadata = ["node": "n\r\n1", "at": "\u{1b}[2J\u{2028}"]
        logger(.text, to: output).notice("a node\nis up", metadata: metadata)
        let line = "2024-02-04T10:30:10.500Z NOTICE   a node\\nis up at=\\u{1b}[2J\\u{2028} node=n\\r\\n1\n"
        #expect(output.lines == [line])
    }

    @Test("is one JSON object a line elsewhere, the time first")
    func json() throws {
        let output = Output()
        logger(.json, to: output).error("it \"broke\"\n", metadata: ["b": "1", "a": "{\u{1}"])
        let line = try #require(output.lines.first)
        #expect(line.hasPrefix(#"{"time":"2024-02-04T10:30:10.500Z","level":"error","message":"#))
        #expect(line.dropLast().contains("\n") == false)
        let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: String]
        #expect(object?["message"] == "it \"broke\"\n" && object?["a"] == "{\u{1}" && object?["b"] == "1")
    }

    @Test("warnings that repeat are held back, and counted; others and lower levels are not")
    func throttles() {
        let output = Output()
        let logger = logger(.text, to: output)
        for _ in 0..<50 { logger.warning("again") }
        for _ in 0..<50 { logger.notice("news") }
        logger.warning("another")
        for number in 0..<20 { logger.warning("lost", metadata: ["node": "n\(number)"]) }
        #expect(output.lines.count { $0.contains("lost") } == 20)
        #expect(output.lines.count { $0.contains("again") } == 10)
        #expect(output.lines.count { $0.contains("news") } == 50)
        #expect(output.lines.count { $0.contains("another") } == 1)
        output.wait(seconds: 10)
        logger.warning("again")
        #expect(output.lines.last?.contains("again notLogged=40") == true)
    }
}
