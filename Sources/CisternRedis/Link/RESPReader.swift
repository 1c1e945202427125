internal import CHiredis
internal import NIOCore

/// Splits a connection's bytes into replies: a Swift wrapper around the hiredis reader.
///
/// By default hiredis allocates an object for each value of a reply. The callbacks passed here append the values to a
/// reused buffer instead, so a reply that consists of numbers, as for lease requests, allocates nothing.
struct RESPReader: ~Copyable {
    /// The maximum number of unparsed bytes while a reply is incomplete.
    ///
    /// Most replies have fewer than a hundred bytes, but all limit overrides arrive in one reply.
    private static let maximumPendingBytes = 1 << 22

    private let reader: UnsafeMutablePointer<redisReader>
    private let functions: UnsafeMutablePointer<redisReplyObjectFunctions>
    private let values: UnsafeMutablePointer<ParsedReply>
    private var pendingBytes = 0

    /// The bytes are not valid RESP.
    struct ProtocolError: Error, CustomStringConvertible {
        let description: String
    }

    init() throws(ProtocolError) {
        functions = .allocate(capacity: 1)
        functions.initialize(to: ParsedReply.functions)
        guard let reader = redisReaderCreateWithFunctions(functions) else {
            functions.deallocate()
            throw ProtocolError(description: "out of memory")
        }
        values = .allocate(capacity: 1)
        values.initialize(to: ParsedReply())
        reader.pointee.privdata = UnsafeMutableRawPointer(values)
        self.reader = reader
    }

    deinit {
        redisReaderFree(reader)
        functions.deallocate()
        values.deinitialize(count: 1)
        values.deallocate()
    }

    /// Feeds received bytes to the parser.
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

    /// The next complete reply; nil until more bytes arrive.
    mutating func next() throws(ProtocolError) -> RESPValue? {
        try nextReply()?.value
    }

    /// The same, but an array of ten integers, as the lease script returns, needs no allocation.
    mutating func nextReply() throws(ProtocolError) -> RESPReply? {
        var reply: UnsafeMutableRawPointer?
        guard redisReaderGetReply(reader, &reply) == REDIS_OK else { throw failure }
        guard reply != nil else { return nil }
        pendingBytes = 0
        defer { values.pointee.clear() }
        return try values.pointee.reply()
    }

    private var failure: ProtocolError {
        let text = withUnsafePointer(to: &reader.pointee.errstr) { pointer in
            pointer.withMemoryRebound(to: CChar.self, capacity: 128) { String(cString: $0) }
        }
        return ProtocolError(description: text.isEmpty ? "unreadable reply" : text)
    }
}
