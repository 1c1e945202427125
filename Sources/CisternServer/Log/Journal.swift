internal import CisternAdmin
internal import Foundation
package import Logging
internal import Synchronization

/// Keeps a server's last 100 notable events, for operators who look later.
package final class Journal: Sendable {
    private struct State {
        var entries: [JournalEntry] = []
        var number = 0
        /// Unmetered decisions that the last entry counts; 0 if the last entry is about something else.
        var unmetered: UInt64 = 0
    }

    private static let maximumEntries = 100
    /// Unmetered decisions less than this time apart share one entry.
    private static let longestPauseMilliseconds: Int64 = 5000

    private let state = Mutex(State())
    private let unixMilliseconds: @Sendable () -> Int64

    package init(
        unixMilliseconds: @escaping @Sendable () -> Int64 = { Int64(Date().timeIntervalSince1970 * 1000) }
    ) {
        self.unixMilliseconds = unixMilliseconds
    }

    /// All entries, oldest first.
    var entries: [JournalEntry] { state.withLock { $0.entries } }

    /// The number of the latest entry; 0 for none.
    var latest: Int { state.withLock { $0.number } }

    func add(_ message: String, level: Logger.Level, details: [String: String]) {
        state.withLock { state in
            state.unmetered = 0
            add(message, level, details, to: &state)
        }
    }

    /// Records decisions that just went unmetered.
    func addUnmetered(_ decisions: UInt64) {
        state.withLock { state in
            let now = unixMilliseconds()
            if state.unmetered > 0, let last = state.entries.last,
                now - last.unixMilliseconds < Self.longestPauseMilliseconds
            {
                state.entries.removeLast()
            } else {
                state.unmetered = 0
            }
            state.unmetered += decisions
            add("requests went unmetered", .warning, ["requests": "\(state.unmetered)"], to: &state)
        }
    }

    private func add(_ message: String, _ level: Logger.Level, _ details: [String: String], to state: inout State) {
        state.number += 1
        state.entries.append(
            JournalEntry(
                number: state.number, unixMilliseconds: unixMilliseconds(), level: level.rawValue, message: message,
                details: details))
        if state.entries.count > Self.maximumEntries { state.entries.removeFirst() }
    }

    /// A logger that forwards to `logger` and records events of level notice and above in this journal.
    package func recording(_ logger: Logger) -> Logger {
        var recording = Logger(label: logger.label) { _ in JournalLogHandler(journal: self, base: logger) }
        recording.logLevel = min(logger.logLevel, .notice)
        return recording
    }
}

/// Forwards log events, and records those of level notice and above even if the base logger does not write them.
private struct JournalLogHandler: LogHandler {
    let journal: Journal
    let base: Logger
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.notice

    init(journal: Journal, base: Logger) {
        self.journal = journal
        self.base = base
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        if event.level >= .notice {
            journal.add("\(event.message)", level: event.level, details: all.mapValues { "\($0)" })
        }
        base.log(
            level: event.level, event.message, metadata: all, source: event.source, file: event.file,
            function: event.function, line: event.line)
    }
}
