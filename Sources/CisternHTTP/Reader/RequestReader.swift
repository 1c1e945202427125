internal import NIOCore

/// Reads requests off a connection's bytes, one after the other: HTTP/1.1 and 1.0 (RFC 9112).
///
/// A state machine over whatever has come: it goes on where it stopped, never looks at a byte of a head twice, and copies
/// none of it. It keeps to the letter of the standard, also where that allows readers to be lenient: what two readers could
/// understand in two ways is refused, so that nothing can be smuggled past whoever stands in front.
struct RequestReader {
    /// What has been read.
    enum Event {
        /// The bytes end before the request does.
        case incomplete
        /// The head of a request of which the body has not come whole: it may be refused, or its body passed over with
        /// ``skipBody(in:)``.
        case head(Request, ResponseFraming)
        /// The client waits for `100 Continue` before it sends the body.
        case proceed
        /// A request, and how its answer is framed.
        case request(Request, ResponseFraming)
        /// Something that is none; nothing after it is read.
        case refusal(RequestError, ResponseFraming)
    }

    /// What comes next.
    private enum Phase: Equatable {
        case requestLine
        case fields
        case body
        case skippedBody(remaining: Int)
        case chunkLine
        case chunk(remaining: Int)
        case chunkEnd
        case trailers
        case over
    }

    /// How many fields there may be in a head, or in trailers.
    private static let maximumFields = 256

    private let maximumHeaderBytes: Int
    private let maximumBodyBytes: Int
    private var phase = Phase.requestLine
    private var line: RequestLine?
    private var fields = RequestFields()
    /// How an answer to the request at hand is framed, as far as it has been read.
    private(set) var framing = ResponseFraming()
    /// Bytes of names and values in the head, or in the trailers.
    private var fieldBytes = 0
    private var fieldCount = 0
    /// Where the line or the body that comes next begins, from the first readable byte on.
    private var position = 0
    /// Up to where the end of that line has been looked for.
    private var searched = 0
    /// The head of a chunked request, and behind it what its chunks hold.
    private var unchunked = ByteBuffer()
    private var headBytes = 0
    /// How much of a chunked body has come.
    private var bodyBytes = 0
    private var skipsBody = false
    /// Whether the client still has to be told that it may send the body.
    private(set) var owesProceed = false

    init(maximumHeaderBytes: Int, maximumBodyBytes: Int) {
        self.maximumHeaderBytes = maximumHeaderBytes
        self.maximumBodyBytes = maximumBodyBytes
    }

    /// Whether nothing of a further request has been taken in.
    var isBetweenRequests: Bool { phase == .requestLine && searched == 0 }

    /// Whether the head has been taken in and the body has not.
    var isInBody: Bool { phase != .requestLine && phase != .fields }

    /// Bytes of a body that are kept here.
    var keptBodyBytes: Int { unchunked.storageCapacity }

    /// Passes over the body of the request whose head has just been read, so that none of it is kept.
    mutating func skipBody(in buffer: inout ByteBuffer) {
        skipsBody = true
        guard phase == .body else { return }
        takeHead(outOf: &buffer)
        phase = .skippedBody(remaining: fields.contentLength ?? 0)
    }

    /// Lets go of what is kept: nothing more is read.
    mutating func end() {
        phase = .over
        owesProceed = false
        unchunked = ByteBuffer()
    }

    /// Reads on, and takes what it has finished with out of `buffer`.
    mutating func next(in buffer: inout ByteBuffer) -> Event {
        if owesProceed {
            owesProceed = false
            return .proceed
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
                    return finishUnchunked()
                case .chunkLine, .chunk, .chunkEnd:
                    guard try readChunks(&buffer) else { return .incomplete }
                case .trailers:
                    guard try readFields(buffer.readableBytesUInt8Span) else { return .incomplete }
                    buffer.moveReaderIndex(forwardBy: position)
                    return finishUnchunked()
                case .over: return .incomplete
                }
            }
        } catch {
            end()
            return .refusal(error, framing)
        }
    }

    private mutating func finishUnchunked() -> Event {
        let bytes = unchunked
        unchunked = ByteBuffer()
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

    /// Reads lines up to the empty one that ends the head; false where that has not come.
    private mutating func readHead(_ bytes: Span<UInt8>) throws(RequestError) -> Bool {
        if phase == .requestLine {
            guard let range = try nextLine(bytes, atMost: maximumLineBytes, or: .targetTooLong) else { return false }
            // A client may have sent a line end too many behind the request before (RFC 9112, 2.2).
            guard !range.isEmpty else { return false }
            let line = try RequestLine(bytes, range)
            framing.isVersion10 = line.isVersion10
            framing.omitsBody = line.method == .head
            self.line = line
            phase = .fields
        }
        return try readFields(bytes)
    }

    /// Whether nothing but an empty line has been read where a request might begin.
    private var isAtEmptyLine: Bool { phase == .requestLine && position > 0 }

    /// Reads the field lines of a head, or of trailers, up to the empty line; false where that has not come.
    private mutating func readFields(_ bytes: Span<UInt8>) throws(RequestError) -> Bool {
        while let range = try nextLine(bytes) {
            if range.isEmpty { return true }
            let field = try HeaderLine(bytes, range)
            // A colon and some space are free; as much of it as makes up a line is not.
            fieldBytes += max(field.name.count + field.value.count, range.count - Self.maximumFreeBytes)
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

    /// The next line of a head or of trailers, without its end; nil where that has not come.
    private mutating func nextLine(_ bytes: Span<UInt8>) throws(RequestError) -> Range<Int>? {
        try nextLine(bytes, atMost: maximumLineBytes, or: .headerTooLarge)
    }

    /// The next line, without its end, of so many bytes at most; nil where the end has not come.
    ///
    /// Of a line that is too long and has a control character what comes first decides, so that it does not matter in what
    /// pieces they come.
    private mutating func nextLine(
        _ bytes: Span<UInt8>, atMost most: Int, or refusal: @autoclosure () -> RequestError
    ) throws(RequestError) -> Range<Int>? {
        let found = Line.search(bytes, from: searched)
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
        case .control: throw .malformed("a control character, or a line that does not end with CR LF")
        }
    }

    /// The longest line: one field of the greatest length, with a colon and some space.
    private var maximumLineBytes: Int { maximumHeaderBytes + Self.maximumFreeBytes }
    /// How much of a field line that is neither name nor value does not count.
    private static let maximumFreeBytes = 16

    // MARK: Body

    /// The head is complete: what comes next.
    ///
    /// An event where the client has to be told something first.
    private mutating func beginBody(in buffer: inout ByteBuffer) throws(RequestError) -> Event? {
        guard let line else { return nil }
        try fields.check(isVersion10: line.isVersion10)
        // What a body of CONNECT would mean is not defined, and readers disagree on whether there is one (RFC 9110, 9.3.6).
        guard !line.isConnect || fields.contentLength ?? 0 == 0 && !fields.isChunked else {
            throw .malformed("CONNECT has no body")
        }
        // An offer to upgrade is ignored (RFC 9110, 7.8); what follows CONNECT would be another protocol.
        framing.keepsAlive = fields.keepsAlive(isVersion10: line.isVersion10) && !line.isConnect
        if let length = fields.contentLength, length > maximumBodyBytes { throw .bodyTooLarge(maximumBodyBytes) }
        phase = .body
        owesProceed = fields.expectsContinue
        if fields.isChunked {
            phase = .chunkLine
            (fieldBytes, fieldCount) = (0, 0)
            takeHead(outOf: &buffer)
            return .head(request(line, unchunked, body: headBytes..<headBytes), framing)
        }
        let isWhole = buffer.readableBytes >= position + (fields.contentLength ?? 0)
        guard !isWhole || owesProceed, let head = buffer.getSlice(at: buffer.readerIndex, length: position) else {
            return nil
        }
        return .head(request(line, head, body: position..<position), framing)
    }

    private mutating func takeHead(outOf buffer: inout ByteBuffer) {
        headBytes = position
        unchunked = ByteBuffer(bytes: buffer.readableBytesView.prefix(position))
        discardRead(&buffer)
    }

    /// Reads chunks until the last one; false where that has not come.
    private mutating func readChunks(_ buffer: inout ByteBuffer) throws(RequestError) -> Bool {
        while true {
            switch phase {
            case .chunkLine:
                let line = try nextLine(
                    buffer.readableBytesUInt8Span, atMost: ChunkLine.maximumBytes,
                    or: .malformed("the line before a chunk is over \(ChunkLine.maximumBytes) bytes"))
                guard let range = line else { return false }
                let size = try ChunkLine.size(buffer.readableBytesUInt8Span.extracting(range))
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
                if !skipsBody { unchunked.writeImmutableBuffer(piece) }
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
