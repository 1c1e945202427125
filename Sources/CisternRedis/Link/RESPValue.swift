internal import CHiredis
internal import NIOCore

/// One value of the Redis protocol (RESP2).
package enum RESPValue: Equatable, Sendable {
    case string([UInt8])
    case integer(Int64)
    case array([RESPValue])
    case null
    case error(String)
}

/// Cuts the bytes of a connection into replies: hiredis' reader in Swift clothes.
struct RESPReader: ~Copyable {
    /// The most bytes that may lie unread, before one reply is complete.
    ///
    /// Replies here have under a hundred, but for the overrides of limits, all of which come in one.
    private static let maximumPendingBytes = 1 << 22

    private let reader: UnsafeMutablePointer<redisReader>
    private var pendingBytes = 0

    /// Bytes that are no RESP.
    struct ProtocolError: Error, CustomStringConvertible {
        let description: String
    }

    init() throws(ProtocolError) {
        guard let reader = redisReaderCreate() else { throw ProtocolError(description: "out of memory") }
        self.reader = reader
    }

    deinit {
        redisReaderFree(reader)
    }

    /// Takes in bytes as they came.
    mutating func feed(_ bytes: ByteBuffer) throws(ProtocolError) {
        pendingBytes += bytes.readableBytes
        guard pendingBytes <= Self.maximumPendingBytes else {
            throw ProtocolError(description: "a reply of over \(Self.maximumPendingBytes) bytes")
        }
        let status = bytes.withUnsafeReadableBytes { raw in
            redisReaderFeed(reader, raw.bindMemory(to: CChar.self).baseAddress, raw.count)
        }
        guard status == REDIS_OK else { throw failure }
    }

    /// The next complete reply; nil until more bytes have come.
    mutating func next() throws(ProtocolError) -> RESPValue? {
        var reply: UnsafeMutableRawPointer?
        guard redisReaderGetReply(reader, &reply) == REDIS_OK else { throw failure }
        guard let reply else { return nil }
        defer { freeReplyObject(reply) }
        pendingBytes = 0
        return RESPValue(reply.assumingMemoryBound(to: redisReply.self).pointee)
    }

    private var failure: ProtocolError {
        let text = withUnsafePointer(to: &reader.pointee.errstr) { pointer in
            pointer.withMemoryRebound(to: CChar.self, capacity: 128) { String(cString: $0) }
        }
        return ProtocolError(description: text.isEmpty ? "unreadable reply" : text)
    }
}

extension RESPValue {
    fileprivate init(_ reply: redisReply) {
        switch reply.type {
        case REDIS_REPLY_INTEGER: self = .integer(reply.integer)
        case REDIS_REPLY_STRING, REDIS_REPLY_STATUS: self = .string(reply.bytes)
        case REDIS_REPLY_ERROR: self = .error(String(decoding: reply.bytes, as: UTF8.self))
        case REDIS_REPLY_ARRAY:
            let elements = UnsafeBufferPointer(start: reply.element, count: Int(reply.elements))
            self = .array(elements.map { $0.map { RESPValue($0.pointee) } ?? .null })
        default: self = .null
        }
    }
}

extension redisReply {
    fileprivate var bytes: [UInt8] {
        [UInt8](UnsafeRawBufferPointer(start: str, count: Int(len)))
    }
}
