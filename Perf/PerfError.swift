/// An error that ends a benchmark; its description names the cause and the remedy.
struct PerfError: Error, Equatable, CustomStringConvertible {
    /// The exit codes, by sysexits.h.
    enum Code: Int32 {
        /// A count of a smoke run is wrong.
        case wrongCount = 1
        case usage = 64
        /// Something required is missing, or was lost during the run.
        case unavailable = 69
    }

    let description: String
    let code: Code

    init(_ description: String, _ code: Code) {
        self.description = description
        self.code = code
    }
}
