internal import Foundation

/// One HTTP response as received.
package struct HTTPReply: Sendable, CustomStringConvertible {
    package let status: Int
    /// Header lines in the order received, with their names spelled as received.
    package let headers: [(name: String, value: String)]
    package let body: String

    /// The value of a header; nil unless the header occurs exactly once.
    package subscript(name: String) -> String? {
        let values = headers.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
        return values.count == 1 ? values[0] : nil
    }

    /// The body as a JSON object.
    package var json: [String: Any] {
        ((try? JSONSerialization.jsonObject(with: Data(body.utf8))) as? [String: Any]) ?? [:]
    }

    package var description: String { "\(status) \(headers) \(body)" }

    /// Removes the first response from `bytes` and returns it; nil if it is incomplete.
    package static func next(in bytes: inout [UInt8], isHead: Bool = false) -> HTTPReply? {
        let text = Array("\r\n\r\n".utf8)
        guard let end = bytes.indices.first(where: { bytes[$0...].starts(with: text) }) else { return nil }
        let lines = String(decoding: bytes[..<end], as: UTF8.self).components(separatedBy: "\r\n")
        let headers = lines.dropFirst().map { line in
            let colon = line.firstIndex(of: ":") ?? line.endIndex
            return (
                name: String(line[..<colon]), value: line[colon...].dropFirst().trimmingCharacters(in: .whitespaces)
            )
        }
        let status = Int(lines[0].split(separator: " ").dropFirst().first ?? "") ?? 0
        let announced = headers.first { $0.name.lowercased() == "content-length" }.flatMap { Int($0.value) } ?? 0
        let length = isHead || status == 100 ? 0 : announced
        guard bytes.count >= end + 4 + length else { return nil }
        let body = String(decoding: bytes[end + 4..<end + 4 + length], as: UTF8.self)
        bytes.removeFirst(end + 4 + length)
        return HTTPReply(status: status, headers: headers, body: body)
    }
}

/// Builds the text of HTTP requests.
package enum HTTPRequestText {
    /// `POST /chat` for an organization, with a JSON body.
    package static func chat(_ organization: String, body: String = #"{"message":"hi"}"#, close: Bool = false) -> String
    {
        "POST /chat HTTP/1.1\r\nHost: localhost\r\nx-org-id: \(organization)\r\nx-user-id: u\r\n"
            + "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n"
            + (close ? "Connection: close\r\n" : "") + "\r\n" + body
    }

    /// A request without a body.
    package static func plain(_ method: String, _ path: String, _ headers: [String] = []) -> String {
        "\(method) \(path) HTTP/1.1\r\nHost: localhost\r\n" + headers.map { $0 + "\r\n" }.joined() + "\r\n"
    }
}

extension Socket {
    /// Sends the text of one or more requests.
    package func send(_ text: String) throws {
        try send(Array(text.utf8))
    }

    /// Receives `count` responses, or fewer if the connection ends.
    package func replies(_ count: Int, isHead: Bool = false) throws -> [HTTPReply] {
        var bytes: [UInt8] = []
        var replies: [HTTPReply] = []
        while replies.count < count {
            if let reply = HTTPReply.next(in: &bytes, isHead: isHead) {
                replies.append(reply)
                continue
            }
            let more = try receive()
            if more.isEmpty { break }
            bytes += more
        }
        return replies
    }

    /// Sends one request and returns its response.
    package func exchange(_ text: String, isHead: Bool = false) throws -> HTTPReply {
        try send(text)
        guard let reply = try replies(1, isHead: isHead).first else {
            throw Failure(description: "the connection ended without a response")
        }
        return reply
    }
}
