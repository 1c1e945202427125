internal import Foundation
internal import Synchronization

/// Tells on standard error how far a run has come: a bar on a terminal, a line a step elsewhere.
final class Progress: Sendable {
    private let steps: Int
    private let done = Atomic(0)
    private let isTerminal: Bool

    init(steps: Int) {
        self.steps = max(1, steps)
        isTerminal = isatty(STDERR_FILENO) == 1
    }

    /// A step begins; those before it are done.
    func begin(_ what: String) {
        let number = done.add(1, ordering: .relaxed).oldValue
        write(Self.line(number, of: steps, what, isTerminal: isTerminal))
    }

    /// All is done: the bar goes away.
    func end() {
        if isTerminal { write("\r\u{1b}[K") }
    }

    static func line(_ number: Int, of steps: Int, _ what: String, isTerminal: Bool) -> String {
        guard isTerminal else { return "\(number + 1) of \(steps): \(what)\n" }
        let filled = 24 * number / steps
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: 24 - filled)
        return "\r\u{1b}[K\(bar) \(100 * number / steps) %  \(what)"
    }

    private func write(_ text: String) {
        FileHandle.standardError.write(Data(text.utf8))
    }
}
