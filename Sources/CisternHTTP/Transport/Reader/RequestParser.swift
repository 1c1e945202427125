internal import NIOCore

/// An incremental parser for the HTTP/1.1 and HTTP/1.0 requests of one connection (RFC 9112).
///
/// It resumes where it stopped and scans each byte of a head once. It copies a head only if the body is chunked or
/// skipped. It is strict even where the RFC lets parsers be lenient: it rejects any input that two parsers could
/// interpret differently, so that no request can be smuggled past a proxy.
struct RequestParser {
    /// The result of a parsing step.
    enum Event {
        /// The request is incomplete; more bytes are needed.
        case incomplete
        /// A head whose body has not arrived in full: the caller may reject the request or call ``skipBody(in:)``.
        case head(Request, ResponseFraming)
        /// The client waits for `100 Continue` before it sends the body.
        case sendContinue
        /// A complete request, and the framing of its response.
        case request(Request, ResponseFraming)
        /// The input is not a valid request; nothing after it is read.
        case refusal(RequestError, ResponseFraming)
    }

    /// The part of a request that comes next.
    private enum Phase: Equatable {
        case requestLine
        case fields
        case body
        case skippedBody(remaining: Int)
        case chunkLine
        case chunk(remaining: Int)
        case chunkEnd
        case trailers
        case ended
    }

    /// The maximum number of fields in a head or in trailers.
    private static let maximumFields = 256

    private let maximumHeaderBytes: Int
    private let maximumBodyBytes: Int
    private var phase = Phase.requestLine
    private var line: RequestLine?
    private var fields = RequestFields()
    /// The framing of the current request's response, as far as the request has been read.
    private(set) var framing = ResponseFraming()
    /// The size so far of names and values in the head or the trailers, in bytes.
    private var fieldBytes = 0
    private var fieldCount = 0
    /// The offset of the next line or body, relative to the first readable byte.
    private var position = 0
    /// The offset up to which the parser has searched for the next line's end.
    private var searched = 0
    /// The head of a chunked or skipped request, followed by the data of its chunks.
    private var decodedRequest = ByteBuffer()
    private var headBytes = 0
    /// The sum of the chunk sizes so far, in bytes.
    private var bodyBytes = 0
    private var skipsBody = false
    /// Whether the client still waits for `100 Continue`.
    private(set) var mustSendContinue = false

    init(maximumHeaderBytes: Int, maximumBodyBytes: Int) {
        self.maximumHeaderBytes = maximumHeaderBytes
        self.maximumBodyBytes = maximumBodyBytes
    }

    /// Whether no byte of the next request has been read.
    var isBetweenRequests: Bool { phase == .requestLine && searched == 0 }

    /// Whether the head is complete and the body is not.
    var isInBody: Bool { phase != .requestLine && phase != .fields }

    /// The size of the buffer for a chunked body, in bytes.
    var bodyBufferBytes: Int { decodedRequest.storageCapacity }

    /// Discards the body of the request whose head has just been read, instead of buffering it.
    mutating func skipBody(in buffer: inout ByteBuffer) {
        skipsBody = true
        guard phase == .body else { return }
        takeHead(outOf: &buffer)
        phase = .skippedBody(remaining: fields.contentLength ?? 0)
    }

    /// Stops reading and frees the buffered body.
    mutating func end() {
        phase = .ended
        mustSendContinue = false
        decodedRequest = ByteBuffer()
    }

    /// Returns the next event, and removes from `buffer` the bytes that the parser no longer needs.
    mutating func next(in buffer: inout ByteBuffer) -> Event {
        if mustSendContinue {
            mustSendContinue = false
            return .sendContinue
        }
        do throws(RequestError) {
            while true {
                switch phase {
                case .requestLine, .fields:
                    if try !readHead(buffer.readableBytesUInt8Span) {
                        guard isAtEmptyLine else { return .incomplete }
                        discardRead(&buffer)
                        continue
                    }
                    if let event = try beginBody(in: &buffer) { return event }
                case .body:
                    let end = position + (fields.contentLength ?? 0)
                    guard buffer.readableBytes >= end, let bytes = buffer.readSlice(length: end) else {
                        return .incomplete
                    }
                    return finish(bytes, body: position..<end)
                case .skippedBody(let remaining):
                    let count = min(remaining, buffer.readableBytes)
                    buffer.moveReaderIndex(forwardBy: count)
                    phase = .skippedBody(remaining: remaining - count)
                    guard remaining == count else { return .incomplete }
                    return finishDecoded()
                case .chunkLine, .chunk, .chunkEnd:
                    guard try readChunks(&buffer) else { return .incomplete }
                case .trailers:
                    guard try readFields(buffer.readableBytesUInt8Span) else { return .incomplete }
                    buffer.moveReaderIndex(forwardBy: position)
                    return finishDecoded()
                case .ended: return .incomplete
                }
            }
        } catch {
            end()
            return .refusal(error, framing)
        }
    }

    private mutating func finishDecoded() -> Event {
        let bytes = decodedRequest
        decodedRequest = ByteBuffer()
        return finish(bytes, body: headBytes..<bytes.readableBytes)
    }

    private mutating func finish(_ bytes: ByteBuffer, body: Range<Int>) -> Event {
        guard let line else { return .incomplete }
        let request = request(line, bytes, body: body)
        let framing = framing
        reset()
        return .request(request, framing)
    }

    private func request(_ line: RequestLine, _ bytes: ByteBuffer, body: Range<Int>) -> Request {
        Request(
            bytes: bytes, method: line.method, path: line.path, bodyFormat: fields.bodyFormat,
            organization: fields.organization, user: fields.user, body: body)
    }

    private mutating func reset() {
        phase = .requestLine
        line = nil
        fields = RequestFields()
        framing = ResponseFraming()
        (fieldBytes, fieldCount, position, searched, headBytes, bodyBytes) = (0, 0, 0, 0, 0, 0)
        skipsBody = false
    }

    // MARK: Head

    /// Reads lines up to the empty line that ends the head; false if that line has not arrived.
    private mutating func readHead(_ bytes: Span<UInt8>) throws(RequestError) -> Bool {
        if phase == .requestLine {
            guard let range = try nextLine(bytes, atMost: maximumLineBytes, or: .targetTooLong) else { return false }
            // A client may have sent an extra line end after the previous request (RFC 9112, section 2.2).
            guard !range.isEmpty else { return false }
            let line = try RequestLine(bytes, range)
            framing.isVersion10 = line.isVersion10
            framing.omitsBody = line.method == .head
            self.line = line
            phase = .fields
        }
        return try readFields(bytes)
    }

    /// Whether only an empty line has been read since the previous request.
    private var isAtEmptyLine: Bool { phase == .requestLine && position > 0 }

    /// Reads the header lines of a head or of trailers up to the empty line; false if that line has not arrived.
    private mutating func readFields(_ bytes: Span<UInt8>) throws(RequestError) -> Bool {
        while let range = try nextLine(bytes) {
            if range.isEmpty { return true }
            let field = try HeaderLine(bytes, range)
            // A colon and a few bytes of whitespace are free; more whitespace counts toward the limit.
            fieldBytes += max(field.name.count + field.value.count, range.count - Self.uncountedLineBytes)
            fieldCount += 1
            if phase == .fields {
                try fields.take(field, bytes)
            } else {
                try field.checkTrailer(bytes)
            }
            guard fieldBytes <= maximumHeaderBytes, fieldCount <= Self.maximumFields else { throw .headerTooLarge }
        }
        return false
    }

    /// The next line of a head or of trailers, without its CR LF; nil if its end has not arrived.
    private mutating func nextLine(_ bytes: Span<UInt8>) throws(RequestError) -> Range<Int>? {
        try nextLine(bytes, atMost: maximumLineBytes, or: .headerTooLarge)
    }

    /// The next line, at most `most` bytes without its CR LF; nil if its end has not arrived.
    ///
    /// The first fault in a line determines the error, so that the error does not depend on how packets split the line.
    private mutating func nextLine(
        _ bytes: Span<UInt8>, atMost most: Int, or refusal: @autoclosure () -> RequestError
    ) throws(RequestError) -> Range<Int>? {
        let found = LineScanner.search(bytes, from: searched)
        let end =
            switch found {
            case .end(let place), .incomplete(let place), .control(let place): place
            }
        guard end - position <= most else { throw refusal() }
        switch found {
        case .end:
            let range = position..<end
            position = end + 2
            searched = position
            return range
        case .incomplete:
            searched = end
            return nil
        case .control: throw .malformed("a line has a control character, or does not end with CR LF")
        }
    }

    /// The maximum length of a line: a field of the maximum size, a colon and a few bytes of whitespace.
    private var maximumLineBytes: Int { maximumHeaderBytes + Self.uncountedLineBytes }
    /// The bytes of a header line besides its name and value that do not count toward the limit.
    private static let uncountedLineBytes = 16

    // MARK: Body

    /// Begins the body after a complete head; returns an event if the caller must handle the head first.
    private mutating func beginBody(in buffer: inout ByteBuffer) throws(RequestError) -> Event? {
        guard let line else { return nil }
        try fields.check(isVersion10: line.isVersion10)
        // A CONNECT body has no defined meaning, and parsers disagree on whether it exists (RFC 9110, section 9.3.6).
        guard !line.isConnect || fields.contentLength ?? 0 == 0 && !fields.isChunked else {
            throw .malformed("CONNECT has no body")
        }
        // `Upgrade` is ignored (RFC 9110, section 7.8). The bytes after CONNECT belong to another protocol, so close.
        framing.keepsAlive = fields.keepsAlive(isVersion10: line.isVersion10) && !line.isConnect
        if let length = fields.contentLength, length > maximumBodyBytes { throw .bodyTooLarge(maximumBodyBytes) }
        phase = .body
        mustSendContinue = fields.expectsContinue
        if fields.isChunked {
            phase = .chunkLine
            (fieldBytes, fieldCount) = (0, 0)
            takeHead(outOf: &buffer)
            return .head(request(line, decodedRequest, body: headBytes..<headBytes), framing)
        }
        let isWhole = buffer.readableBytes >= position + (fields.contentLength ?? 0)
        guard !isWhole || mustSendContinue, let head = buffer.getSlice(at: buffer.readerIndex, length: position) else {
            return nil
        }
        return .head(request(line, head, body: position..<position), framing)
    }

    private mutating func takeHead(outOf buffer: inout ByteBuffer) {
        headBytes = position
        decodedRequest = ByteBuffer(bytes: buffer.readableBytesView.prefix(position))
        discardRead(&buffer)
    }

    /// Reads chunks up to the last one; false if that one has not arrived.
    private mutating func readChunks(_ buffer: inout ByteBuffer) throws(RequestError) -> Bool {
        while true {
            switch phase {
            case .chunkLine:
                let line = try nextLine(
                    buffer.readableBytesUInt8Span, atMost: ChunkHeader.maximumBytes,
                    or: .malformed("the line before a chunk is over \(ChunkHeader.maximumBytes) bytes"))
                guard let range = line else { return false }
                let size = try ChunkHeader.size(buffer.readableBytesUInt8Span.extracting(range))
                guard bodyBytes + size <= maximumBodyBytes else {
                    throw .bodyTooLarge(maximumBodyBytes)
                }
                bodyBytes += size
                discardRead(&buffer)
                phase = size == 0 ? .trailers : .chunk(remaining: size)
                if size == 0 { return true }
            case .chunk(let remaining):
                guard let piece = buffer.readSlice(length: min(remaining, buffer.readableBytes)),
                    piece.readableBytes > 0
                else { return false }
                if !skipsBody { decodedRequest.writeImmutableBuffer(piece) }
                phase =
                    piece.readableBytes == remaining ? .chunkEnd : .chunk(remaining: remaining - piece.readableBytes)
            case .chunkEnd:
                let line = try nextLine(
                    buffer.readableBytesUInt8Span, atMost: 0, or: .malformed("a chunk is longer than its size"))
                guard line != nil else { return false }
                discardRead(&buffer)
                phase = .chunkLine
            default: return true
            }
        }
    }

    private mutating func discardRead(_ buffer: inout ByteBuffer) {
        buffer.moveReaderIndex(forwardBy: position)
        (position, searched) = (0, 0)
    }
}
