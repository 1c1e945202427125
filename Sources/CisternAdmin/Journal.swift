/// One thing that happened to a server, as its log has it.
package struct JournalEntry: Sendable, Equatable {
    /// Counts up from 1.
    package var number: Int
    /// When, in milliseconds since 1970.
    package var unixMilliseconds: Int64
    package var level: String
    package var message: String
    /// What the log says besides, by name.
    package var details: [String: String]

    package init(
        number: Int, unixMilliseconds: Int64, level: String, message: String, details: [String: String]
    ) {
        self.number = number
        self.unixMilliseconds = unixMilliseconds
        self.level = level
        self.message = message
        self.details = details
    }
}
