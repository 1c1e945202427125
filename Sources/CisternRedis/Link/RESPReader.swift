internal import CHiredis
internal import NIOCore

/// Cuts the bytes of a connection into replies: hiredis' reader in Swift clothes.
///
/// hiredis would allocate an object for each value of a reply. It is given functions that note the values one after the
/// other in room that is used again, so that a reply of numbers, as lease requests have, allocates nothing.
struct RESPReader: ~Copyable {
    /// The most bytes that may lie unread, before one reply is complete.
    ///
    /// Replies here have under a hundred, but for the overrides of limits, all of which come in one.
    private static let maximumPendingBytes = 1 << 22

    private let reader: UnsafeMutablePointer<redisReader>
    private let functions: UnsafeMutablePointer<redisReplyObjectFunctions>
    private let notes: UnsafeMutablePointer<RESPNotes>
    private var pendingBytes = 0

    /// Bytes that are no RESP.
    struct ProtocolError: Error, CustomStringConvertible {
        let description: String
    }

    init() throws(ProtocolError) {
        functions = .allocate(capacity: 1)
        functions.initialize(to: RESPNotes.functions)
        guard let reader = redisReaderCreateWithFunctions(functions) else {
            functions.deallocate()
            throw ProtocolError(description: "out of memory")
        }
        notes = .allocate(capacity: 1)
        notes.initialize(to: RESPNotes())
        reader.pointee.privdata = UnsafeMutableRawPointer(notes)
        self.reader = reader
    }

    deinit {
        redisReaderFree(reader)
        functions.deallocate()
        notes.deinitialize(count: 1)
        notes.deallocate()
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
        try nextReply()?.value
    }

    /// The same, without a value for one of numbers alone.
    mutating func nextReply() throws(ProtocolError) -> RESPReply? {
        var reply: UnsafeMutableRawPointer?
        guard redisReaderGetReply(reader, &reply) == REDIS_OK else { throw failure }
        guard reply != nil else { return nil }
        pendingBytes = 0
        defer { notes.pointee.clear() }
        return try notes.pointee.reply()
    }

    private var failure: ProtocolError {
        let text = withUnsafePointer(to: &reader.pointee.errstr) { pointer in
            pointer.withMemoryRebound(to: CChar.self, capacity: 128) { String(cString: $0) }
        }
        return ProtocolError(description: text.isEmpty ? "unreadable reply" : text)
    }
}
