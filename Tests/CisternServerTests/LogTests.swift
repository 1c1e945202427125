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
        let steadyMilliseconds = Mutex<Int64>(0)

        func add(_ line: String) { text.withLock { $0.append(line) } }
        var lines: [String] { text.withLock { $0 } }
        func wait(seconds: Int64) { steadyMilliseconds.withLock { $0 += seconds * 1000 } }
        func setClockBack(seconds: Double) { clock.withLock { $0 -= seconds } }
    }

    private func logger(_ format: LineLogHandler.Format, to output: Output) -> Logger {
        let throttle = WarningThrottle()
        return Logger(label: "test") { _ in
            LineLogHandler(
                format: format, throttle: throttle, now: { output.clock.withLock { $0 } },
                steadyMilliseconds: { output.steadyMilliseconds.withLock { $0 } }
            ) { output.add($0) }
        }
    }

    @Test("the log is one readable line per entry on a terminal, with control characters escaped")
    func text() {
        let output = Output()
        let metadata: Logger.Metadata = ["node": "n\r\n1", "at": "\u{1b}[2J\u{2028}"]
        logger(.text, to: output).notice("a node\nis up", metadata: metadata)
        let line = "2024-02-04T10:30:10.500Z NOTICE   a node\\nis up at=\\u{1b}[2J\\u{2028} node=n\\r\\n1\n"
        #expect(output.lines == [line])
    }

    @Test("the log is one JSON object per line elsewhere, with the time first")
    func json() throws {
        let output = Output()
        logger(.json, to: output).error("it \"broke\"\n", metadata: ["b": "1", "a": "{\u{1}"])
        let line = try #require(output.lines.first)
        #expect(line.hasPrefix(#"{"time":"2024-02-04T10:30:10.500Z","level":"error","message":"#))
        #expect(line.dropLast().contains("\n") == false)
        let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: String]
        #expect(object?["message"] == "it \"broke\"\n" && object?["a"] == "{\u{1}" && object?["b"] == "1")
    }

    @Test("repeated warnings are throttled and counted; other warnings and lower levels are not")
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
        // The throttle must not depend on the wall clock.
        output.setClockBack(seconds: 3600)
        logger.warning("again")
        #expect(output.lines.last?.contains("again notLogged=40") == true)
    }

    @Test("messages that do not recur are forgotten, so that the throttle can tell new messages apart")
    func forgetsMessages() {
        let output = Output()
        let logger = logger(.text, to: output)
        for number in 0..<1000 { logger.warning("\(number)") }
        output.wait(seconds: 10)
        for number in 1000..<1200 { logger.warning("\(number)") }
        #expect((1000..<1200).allSatisfy { number in output.lines.contains { $0.hasSuffix(" \(number)\n") } })
    }

    @Test("an unread descriptor blocks no caller: lines are dropped and counted, and a later line reports it")
    func unreadPipe() async throws {
        let pipe = Pipe()
        let writer = LogWriter(descriptor: pipe.fileHandleForWriting.fileDescriptor, maximumBytes: 100_000) {
            LineLogHandler.droppedNotice($0, format: .text)
        }
        let line = String(repeating: "x", count: 99) + "\n"
        // More than the pipe and the writer can hold together.
        for _ in 0..<20_000 { writer.write(line) }
        let dropped = writer.droppedLines
        #expect(dropped > 0)
        let before = ContinuousClock.now
        writer.flush(milliseconds: 50)
        #expect(ContinuousClock.now - before >= .milliseconds(50))
        let reader = Task.detached { () -> String in
            var text = ""
            while !text.contains("the end") {
                text += String(decoding: pipe.fileHandleForReading.availableData, as: UTF8.self)
            }
            return text
        }
        writer.flush(milliseconds: 10_000)
        writer.write("the end\n")
        let text = await reader.value
        let told = text.matches(of: /log lines dropped.*lines=([0-9]+)/).compactMap { UInt64($0.output.1) }
        #expect(told.reduce(0, +) == dropped)
        #expect(text.split(separator: "\n").count { $0.hasPrefix("x") } == 20_000 - Int(dropped))
    }
}
