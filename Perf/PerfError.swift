/// Why a benchmark cannot go on: what is wrong, and what would be right.
struct PerfError: Error, Equatable, CustomStringConvertible {
    /// The exit codes, by sysexits.h.
    enum Code: Int32 {
        /// A count of a smoke run is not what it must be.
        case wrongCount = 1
        case usage = 64
        /// Something that is needed is not there, or has gone away.
        case unavailable = 69
    }

    let description: String
    let code: Code

    init(_ description: String, _ code: Code) {
        self.description = description
        self.code = code
    }
}
