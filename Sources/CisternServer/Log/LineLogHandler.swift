internal import Cistern
internal import CisternSupport
package import Foundation
package import Logging
internal import Synchronization

/// Writes each log event as one line: as text for a terminal, otherwise as a JSON object.
///
/// Repeated warnings and errors are throttled: at most ten lines in ten seconds are written per message and node. After
/// suppressed lines, the next line that is written carries their number as `notLogged`.
package struct LineLogHandler: LogHandler {
    /// The format of a line.
    package enum Format: Sendable {
        case text
        case json
    }

    package var logLevel = Logger.Level.info
    package var metadata: Logger.Metadata = [:]
    private let format: Format
    private let throttle: WarningThrottle
    private let now: @Sendable () -> Date
    private let steadyMilliseconds: @Sendable () -> Int64
    private let write: @Sendable (String) -> Void

    /// Creates a handler.
    ///
    /// - Parameters:
    ///   - now: the wall clock, for timestamps.
    ///   - steadyMilliseconds: a monotonic clock, for throttling.
    ///   - write: writes a complete line, including its newline.
    package init(
        format: Format, throttle: WarningThrottle, now: @escaping @Sendable () -> Date = { Date() },
        steadyMilliseconds: @escaping @Sendable () -> Int64 = LineLogHandler.processMilliseconds,
        write: @escaping @Sendable (String) -> Void
    ) {
        self.format = format
        self.throttle = throttle
        self.now = now
        self.steadyMilliseconds = steadyMilliseconds
        self.write = write
    }

    /// Milliseconds since the first call, on a monotonic clock.
    package static let processMilliseconds: @Sendable () -> Int64 = {
        let start = ContinuousClock.now
        return { Int64((ContinuousClock.now - start) / .milliseconds(1)) }
    }()

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        let time = now()
        var fields = metadata.merging(event.metadata ?? [:]) { $1 }
        if event.level >= .warning {
            guard
                let suppressed = throttle.permit(
                    "\(event.message) \(fields["node"] ?? "")", atMilliseconds: steadyMilliseconds())
            else { return }
            if suppressed > 0 { fields["notLogged"] = "\(suppressed)" }
        }
        write(Self.line("\(event.message)", event.level, fields, time, format))
    }

    /// The line that reports how many lines were dropped.
    package static func droppedNotice(_ lines: UInt64, format: Format) -> String {
        line("log lines dropped: standard error is read too slowly", .warning, ["lines": "\(lines)"], Date(), format)
    }

    private static func line(
        _ message: String, _ level: Logger.Level, _ fields: Logger.Metadata, _ time: Date, _ format: Format
    ) -> String {
        switch format {
        case .text: text(message, level, fields, time)
        case .json: json(message, level, fields, time)
        }
    }

    private static func text(
        _ message: String, _ level: Logger.Level, _ fields: Logger.Metadata, _ time: Date
    ) -> String {
        let level = level.rawValue.uppercased().padding(toLength: 8, withPad: " ", startingAt: 0)
        let words = fields.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
        // Escaped, so that a name or a response with line breaks stays on one line.
        return escaped("\(stamp(time)) \(level) \(message)\(words)") + "\n"
    }

    /// Escapes control characters that would break the line or move a terminal's cursor.
    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": escaped += "\\n"
            case "\r": escaped += "\\r"
            case "\u{0}"..."\u{1f}", "\u{7f}"..."\u{9f}", "\u{2028}", "\u{2029}":
                escaped += "\\u{\(String(scalar.value, radix: 16))}"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    private static func json(
        _ message: String, _ level: Logger.Level, _ fields: Logger.Metadata, _ time: Date
    ) -> String {
        let head = [("time", stamp(time)), ("level", level.rawValue), ("message", message)]
        let rest = fields.sorted { $0.key < $1.key }.map { ($0.key, "\($0.value)") }
        return "{" + (head + rest).map { "\(quoted($0)):\(quoted($1))" }.joined(separator: ",") + "}\n"
    }

    private static func quoted(_ text: String) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        return (try? encoder.encode(text)).map { String(decoding: $0, as: UTF8.self) } ?? "null"
    }

    private static func stamp(_ time: Date) -> String {
        time.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    }
}

/// Throttles repeated warnings across all handlers of a process: ten lines in ten seconds for each message.
package final class WarningThrottle: Sendable {
    private static let maximumLines = 10
    /// How many distinct messages are tracked; further messages share one throttle.
    private static let maximumMessages = 256

    private let throttles = Mutex<[String: LogThrottle]>([:])

    package init() {}

    /// Decides whether a line with this message may be written.
    ///
    /// - Returns: the number of lines suppressed before this one, or nil to suppress this one as well.
    func permit(_ message: String, atMilliseconds milliseconds: Int64) -> Int? {
        let now = Instant(milliseconds: milliseconds)
        return throttles.withLock { throttles in
            if throttles[message] == nil, throttles.count >= Self.maximumMessages {
                throttles = throttles.filter { !$0.value.isIdle(now: now) }
            }
            let key = throttles[message] != nil || throttles.count < Self.maximumMessages ? message : ""
            return throttles[key, default: LogThrottle(maximumLines: Self.maximumLines)].permit(now: now)
        }
    }
}
