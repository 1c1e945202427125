internal import Dispatch
internal import Foundation
internal import Synchronization

#if canImport(Darwin)
    internal import Darwin
#else
    internal import Glibc
#endif

/// Writes log lines to a file descriptor on its own thread, so that callers never wait for the descriptor.
///
/// The queue is bounded in bytes. Lines beyond the bound are dropped and counted; a notice with the count precedes the
/// next line that fits.
package final class LogWriter: Sendable {
    private struct State {
        var waiting: [UInt8] = []
        var isWriting = false
        /// Lines dropped since the last notice.
        var dropped: UInt64 = 0
        var totalDropped: UInt64 = 0
    }

    private let descriptor: Int32
    private let maximumBytes: Int
    private let notice: @Sendable (UInt64) -> String
    private let state = Mutex(State())
    private let work = DispatchSemaphore(value: 0)
    private let written = DispatchSemaphore(value: 0)

    /// Starts the thread, which ends with the process.
    ///
    /// - Parameter notice: returns the line that reports the number of dropped lines, including its newline.
    package init(
        descriptor: Int32, maximumBytes: Int = 1 << 20, notice: @escaping @Sendable (_ dropped: UInt64) -> String
    ) {
        self.descriptor = descriptor
        self.notice = notice
        self.maximumBytes = maximumBytes
        let thread = Thread { [self] in run() }
        thread.name = "log"
        thread.start()
    }

    /// Queues a line, including its newline, and returns at once.
    package func write(_ line: String) {
        let isQueued = state.withLock { state in
            guard state.waiting.count + line.utf8.count <= maximumBytes else {
                state.dropped += 1
                state.totalDropped += 1
                return false
            }
            if state.dropped > 0 {
                state.waiting.append(contentsOf: notice(state.dropped).utf8)
                state.dropped = 0
            }
            state.waiting.append(contentsOf: line.utf8)
            return true
        }
        if isQueued { work.signal() }
    }

    /// How many lines have been dropped since the start.
    package var droppedLines: UInt64 { state.withLock { $0.totalDropped } }

    /// Waits until all lines are written, for at most `milliseconds`.
    package func flush(milliseconds: Int) {
        let deadline = DispatchTime.now() + .milliseconds(milliseconds)
        while state.withLock({ $0.isWriting || !$0.waiting.isEmpty }) {
            guard DispatchTime.now() < deadline, written.wait(timeout: deadline) == .success else { return }
        }
    }

    private func run() {
        while true {
            work.wait()
            let bytes = state.withLock { state in
                state.isWriting = true
                defer { state.waiting = [] }
                return state.waiting
            }
            writeAll(bytes)
            state.withLock { $0.isWriting = false }
            written.signal()
        }
    }

    private func writeAll(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { buffer in
                #if canImport(Darwin)
                    Darwin.write(descriptor, buffer.baseAddress, buffer.count)
                #else
                    Glibc.write(descriptor, buffer.baseAddress, buffer.count)
                #endif
            }
            guard count >= 0 else {
                if errno == EINTR { continue }
                if errno == EAGAIN {
                    // Another process that shares the descriptor, such as a terminal, has set O_NONBLOCK.
                    var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = poll(&entry, 1, -1)
                    if entry.revents & Int16(POLLOUT) != 0 { continue }
                }
                // A full disk or a pipe without a reader must not stop the server.
                return
            }
            rest = rest.dropFirst(count)
        }
    }
}
