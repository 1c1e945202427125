package import Logging
import Synchronization

/// Records log lines and counts them.
package final class LogCounter: Sendable {
    private let lines = Mutex<[String]>([])

    package init() {}

    /// The lines so far: level, message and metadata.
    package var all: [String] { lines.withLock { $0 } }

    /// The number of lines that contain a text.
    package func count(_ text: String) -> Int { all.count { $0.contains(text) } }

    /// A log handler that writes into a counter.
    package struct Handler: LogHandler {
        package let counter: LogCounter
        package var metadata: Logger.Metadata = [:]
        package var logLevel = Logger.Level.debug

        package init(counter: LogCounter) {
            self.counter = counter
        }

        package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        package func log(event: LogEvent) {
            let all = metadata.merging(event.metadata ?? [:]) { $1 }
            let text = all.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
            counter.lines.withLock { $0.append("\(event.level) \(event.message) \(text)") }
        }
    }
}
