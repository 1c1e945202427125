/// One event of a server, as logged.
package struct JournalEntry: Sendable, Equatable {
    /// The sequence number, from 1.
    package var number: Int
    /// The time, in milliseconds since 1970.
    package var unixMilliseconds: Int64
    package var level: String
    package var message: String
    /// The log metadata, by name.
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
