import CisternProcesses
import Foundation
import Synchronization

/// A server of the Redis protocol on a free port of 127.0.0.1 whose replies the test chooses.
package final class ScriptedRedis: Sendable {
    /// Returns the RESP reply to a command; nil closes the connection.
    package typealias Answer = @Sendable (_ words: [String]) -> String?

    package let port: Int
    private let listener: Int32
    private let answer: Mutex<Answer>
    private let received = Mutex<[[String]]>([])

    package init(_ answer: @escaping Answer = ScriptedRedis.defaultReplies) throws {
        let listener: Int32
        (listener, port) = try Socket.listen()
        self.listener = listener
        self.answer = Mutex(answer)
        Thread.detachNewThread { [weak self] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { break }
                Thread.detachNewThread { [weak self] in
                    var rest: [UInt8] = []
                    var buffer = [UInt8](repeating: 0, count: 1 << 16)
                    reading: while true {
                        let count = recv(connection, &buffer, buffer.count, 0)
                        guard count > 0 else { break }
                        rest += buffer[..<count]
                        while let words = Self.takeCommand(&rest) {
                            guard let reply = self?.reply(to: words) else { break reading }
                            let bytes = Array(reply.utf8)
                            _ = bytes.withUnsafeBytes {
                                send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                            }
                        }
                    }
                    close(connection)
                }
            }
            close(listener)
        }
    }

    deinit {
        // Wakes the accepting thread, which then closes the socket.
        shutdown(listener, Int32(SHUT_RDWR))
    }

    package var url: String { "redis://127.0.0.1:\(port)" }

    /// The commands received so far.
    package var commands: [[String]] { received.withLock { $0 } }

    /// Replaces the function that chooses the replies.
    package func change(to answer: @escaping Answer) {
        self.answer.withLock { $0 = answer }
    }

    /// Replies to login commands like a node, and grants one token to each lease request.
    package static let defaultReplies: Answer = { words in
        switch words.first {
        case "SET": "$-1\r\n"
        case "SCRIPT": "$40\r\n0123456789012345678901234567890123456789\r\n"
        case "EVALSHA" where words.contains("trial"): ":0\r\n"
        case "EVALSHA": ScriptedRedis.grant
        case "EVAL": ":0\r\n"
        case "INFO": "$0\r\n\r\n"
        default: "+OK\r\n"
        }
    }

    /// The reply of the lease script that grants one token.
    package static let grant = "*10\r\n:1\r\n:0\r\n:1000000\r\n:0\r\n:0\r\n:1\r\n:1\r\n:1\r\n:0\r\n:0\r\n"

    private func reply(to words: [String]) -> String? {
        received.withLock { $0.append(words) }
        return answer.withLock { $0 }(words)
    }

    /// Removes the first command, a RESP array of bulk strings, and returns it; nil if it is incomplete.
    private static func takeCommand(_ bytes: inout [UInt8]) -> [String]? {
        var index = 0
        func line() -> Int? {
            guard let end = bytes[index...].firstIndex(of: UInt8(ascii: "\r")), end + 1 < bytes.count else {
                return nil
            }
            defer { index = end + 2 }
            return Int(String(decoding: bytes[(index + 1)..<end], as: UTF8.self))
        }
        guard !bytes.isEmpty, let count = line() else { return nil }
        var words: [String] = []
        for _ in 0..<count {
            guard index < bytes.count, let length = line(), index + length + 2 <= bytes.count else { return nil }
            words.append(String(decoding: bytes[index..<index + length], as: UTF8.self))
            index += length + 2
        }
        bytes.removeFirst(index)
        return words
    }
}
