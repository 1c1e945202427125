internal import Foundation
internal import NIOCore

/// Splits the bytes of a connection into HTTP responses, and reads only their status.
///
/// It reads the responses of rate limiters: a head with a Content-Length, and a body.
struct ResponseReader {
    /// An error for bytes that are not a supported response.
    struct Malformed: Error, CustomStringConvertible {
        let description: String
    }

    /// The maximum length of a response head.
    private static let maximumHeadBytes = 1 << 16
    private static let lengthName = Array("content-length:".utf8)
    private static let chunkedName = Array("transfer-encoding:".utf8)

    /// Removes the next complete response from the buffer and returns its status; nil if it is incomplete.
    static func next(in buffer: inout ByteBuffer) throws(Malformed) -> Int? {
        let found: Result<(status: Int, count: Int)?, Malformed> = buffer.withUnsafeReadableBytes { bytes in
            Result { () throws(Malformed) in try read(bytes) }
        }
        guard let (status, count) = try found.get() else { return nil }
        buffer.moveReaderIndex(forwardBy: count)
        return status
    }

    private static func read(_ bytes: UnsafeRawBufferPointer) throws(Malformed) -> (status: Int, count: Int)? {
        var status: Int?
        var length = 0
        var lineStart = 0
        while let lineEnd = endOfLine(bytes, from: lineStart) {
            let line = UnsafeRawBufferPointer(rebasing: bytes[lineStart..<lineEnd])
            lineStart = lineEnd + 2
            if status == nil {
                status = try statusCode(line)
            } else if line.isEmpty {
                let count = lineStart + length
                return bytes.count >= count ? status.map { ($0, count) } : nil
            } else if hasName(line, lengthName) {
                length = try number(in: line.dropFirst(lengthName.count))
            } else if hasName(line, chunkedName) {
                throw Malformed(description: "a response without Content-Length")
            }
        }
        guard bytes.count <= maximumHeadBytes else { throw Malformed(description: "a response head over 64 KiB") }
        return nil
    }

    /// Returns the end of the line that begins at `start`, before its CR LF; nil if there is none.
    private static func endOfLine(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
        guard let base = bytes.baseAddress, start < bytes.count,
            let found = memchr(base + start, 0x0a, bytes.count - start)
        else { return nil }
        let end = UnsafeRawPointer(found) - base
        return end > start && bytes[end - 1] == 0x0d ? end - 1 : nil
    }

    private static func statusCode(_ line: UnsafeRawBufferPointer) throws(Malformed) -> Int {
        guard line.count >= 12, line.starts(with: "HTTP/1.".utf8), line[8] == 0x20 else {
            throw Malformed(description: "no HTTP/1.x response: \(String(decoding: line.prefix(40), as: UTF8.self))")
        }
        return try number(in: line[9..<12])
    }

    private static func hasName(_ line: UnsafeRawBufferPointer, _ name: [UInt8]) -> Bool {
        guard line.count > name.count, line[0] | 0x20 == name[0] else { return false }
        return name.indices.allSatisfy { line[$0] | 0x20 == name[$0] | 0x20 }
    }

    private static func number(in text: some Sequence<UInt8>) throws(Malformed) -> Int {
        var number = 0
        for byte in text where byte != 0x20 {
            guard 0x30...0x39 ~= byte, number < 1 << 40 else { throw Malformed(description: "a number was expected") }
            number = number * 10 + Int(byte - 0x30)
        }
        return number
    }
}
