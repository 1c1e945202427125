internal import Foundation

/// Reports progress on standard error.
///
/// On a terminal it rewrites one line in place. Otherwise it writes a line for every 10 % of a long run.
struct SimulationProgress {
    private let total: Int
    private let isLong: Bool
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private var percent = 0

    init(total: Int, isLong: Bool) {
        self.total = total
        self.isLong = isLong
    }

    mutating func advance(to done: Int) {
        let step = isTerminal ? 1 : 10
        let reached = done * 100 / total / step * step
        guard reached > percent, isTerminal || isLong else { return }
        percent = reached
        FileHandle.standardError.write(Data((isTerminal ? "\r\(percent) %" : "\(percent) %\n").utf8))
    }

    func finish() {
        if isTerminal, percent > 0 { FileHandle.standardError.write(Data("\r\u{1B}[K".utf8)) }
    }
}
