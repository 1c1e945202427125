import CisternProcesses
import Foundation
import Synchronization

/// An HTTP server on a free port of 127.0.0.1 whose responses the test chooses, one per connection.
package final class StubHTTPServer: Sendable {
    /// A response: its status and its JSON body, which is a problem document (RFC 9457) for a status of 400 or more.
    package typealias Answer = (status: Int, body: String)

    package let port: Int
    private let listener: Int32
    private let heads = Mutex<[String]>([])

    /// Starts listening.
    ///
    /// - Parameter answer: returns the response for the target of a request.
    package init(_ answer: @escaping @Sendable (String) -> Answer) throws {
        let listener: Int32
        (listener, port) = try Socket.listen()
        self.listener = listener
        Thread.detachNewThread { [weak self] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { break }
                guard let self else {
                    close(connection)
                    break
                }
                self.serve(connection, answer)
            }
            close(listener)
        }
    }

    deinit {
        // Wakes the accepting thread, which then closes the socket.
        shutdown(listener, Int32(SHUT_RDWR))
    }

    /// The heads of the requests so far, as received.
    package var requests: [String] { heads.withLock { $0 } }

    private func serve(_ connection: Int32, _ answer: (String) -> Answer) {
        defer { close(connection) }
        var head = ""
        var buffer = [UInt8](repeating: 0, count: 4096)
        while !head.contains("\r\n\r\n") {
            let count = recv(connection, &buffer, buffer.count, 0)
            guard count > 0 else { return }
            head += String(decoding: buffer[..<count], as: UTF8.self)
        }
        heads.withLock { $0.append(head) }
        let (status, body) = answer(String(head.split(separator: " ").dropFirst().first ?? ""))
        let type = status < 400 ? "json" : "problem+json"
        let reply =
            "HTTP/1.1 \(status) Status\r\nContent-Type: application/\(type)\r\nContent-Length: \(body.utf8.count)\r\n"
            + "Connection: close\r\n\r\n" + body
        _ = reply.withCString { send(connection, $0, strlen($0), Int32(MSG_NOSIGNAL)) }
    }
}
