internal import Foundation
internal import Synchronization

/// Shows the progress of a run on standard error: a bar on a terminal, otherwise one line per step.
final class Progress: Sendable {
    private let steps: Int
    private let done = Atomic(0)
    private let isTerminal: Bool

    init(steps: Int) {
        self.steps = max(1, steps)
        isTerminal = isatty(STDERR_FILENO) == 1
    }

    /// Marks the start of a step, and the end of the steps before it.
    func begin(_ what: String) {
        let number = done.add(1, ordering: .relaxed).oldValue
        write(Self.line(number, of: steps, what, isTerminal: isTerminal))
    }

    /// Marks the end of all steps, and removes the bar.
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
