internal import Cistern
internal import NIOCore

/// Serializes the responses of one event loop.
struct ResponseWriter {
    private var ids: RequestIDGenerator
    private var dateCache = DateCache()
    /// A scratch buffer for bodies whose length is not known in advance.
    private var scratch = ByteBuffer()

    init(seededBy system: inout some RandomNumberGenerator) {
        ids = RequestIDGenerator(seededBy: &system)
    }

    /// Appends the head and body of a response to `buffer`, and returns the request ID.
    ///
    /// - Parameter now: the time on the limiter's clock; `unixMilliseconds` reads the wall clock.
    mutating func write(
        _ response: borrowing Response, to request: borrowing RequestPipeline.PendingRequest, framing: ResponseFraming,
        now: Instant,
        unixMilliseconds: () -> Int64, to buffer: inout ByteBuffer
    ) -> RequestID {
        guard case .chat = response.content else {
            return write(response, framing: framing, now: now, unixMilliseconds: unixMilliseconds, to: &buffer)
        }
        let id = begin(response, now: now, unixMilliseconds: unixMilliseconds)
        writeEcho(response, of: request, id, framing, to: &buffer)
        return id
    }

    /// Appends a response that does not depend on the request's contents, and returns the request ID.
    mutating func write(
        _ response: borrowing Response, framing: ResponseFraming, now: Instant, unixMilliseconds: () -> Int64,
        to buffer: inout ByteBuffer
    ) -> RequestID {
        let id = begin(response, now: now, unixMilliseconds: unixMilliseconds)
        scratch.clear()
        writeBody(of: response, id, to: &scratch)
        let body = scratch
        buffer.writeWithOutputRawSpan(minimumWritableBytes: Self.maximumHeadBytes + body.readableBytes) { output in
            writeHead(of: response, id, framing, contentLength: body.readableBytes, to: &output)
            if !framing.omitsBody { output.append(bytes: body.readableBytesUInt8Span) }
        }
        return id
    }

    /// Updates the date cache for a response, and creates its request ID.
    private mutating func begin(
        _ response: borrowing Response, now: Instant, unixMilliseconds: () -> Int64
    ) -> RequestID {
        dateCache.advance(to: now, unixMilliseconds: unixMilliseconds)
        if let decision = response.decision { dateCache.setReset(to: decision.resetAt) }
        return RequestID(using: &ids)
    }

    /// An upper bound for the size of a head: all fields with their names take 500 bytes, and long values take 100.
    private static let maximumHeadBytes = 1024

    private func writeHead(
        of response: borrowing Response, _ id: RequestID, _ framing: ResponseFraming, contentLength: Int,
        to output: inout OutputRawSpan
    ) {
        if response.status == .ok {
            output.append(bytes: dateCache.okHead.span)
        } else {
            output.append(text: "HTTP/1.1 ")
            output.append(decimal: response.status.rawValue)
            output.append(text: " ")
            output.append(text: response.status.reason)
            output.append(text: "\r\nDate: ")
            output.append(bytes: dateCache.httpDate.span)
            output.append(text: "\r\nX-Request-ID: ")
        }
        output.append(id)
        if let decision = response.decision {
            output.append(text: "\r\nX-RateLimit-Limit: ")
            output.append(decimal: decision.limit.capacity)
            output.append(text: "\r\nX-RateLimit-Remaining: ")
            output.append(decimal: decision.remaining)
            output.append(text: "\r\nX-RateLimit-Reset: ")
            output.append(bytes: dateCache.reset.span)
        }
        if let seconds = response.retryAfterSeconds {
            output.append(text: "\r\nRetry-After: ")
            output.append(decimal: seconds)
        }
        if let allow = response.allow {
            output.append(text: "\r\nAllow: ")
            output.append(text: allow)
        }
        if response.status == .unauthorized {
            output.append(text: "\r\nWWW-Authenticate: Identity realm=\"x-org-id, x-user-id\"")
        }
        switch response.content {
        case .none: break
        case .page(_, let type):
            output.append(text: "\r\nContent-Type: ")
            output.append(bytes: type.utf8.span)
            output.append(text: "\r\nContent-Length: ")
            output.append(decimal: contentLength)
        case .error, .tooManyRequests, .chat:
            output.append(text: "\r\nContent-Type: application/json\r\nContent-Length: ")
            output.append(decimal: contentLength)
        }
        if !framing.keepsAlive {
            output.append(text: "\r\nConnection: close\r\n\r\n")
        } else if framing.isVersion10 {
            output.append(text: "\r\nConnection: keep-alive\r\n\r\n")
        } else {
            output.append(text: "\r\n\r\n")
        }
    }

    // MARK: Bodies

    /// Writes the echo of `POST /chat`, the most frequent response.
    ///
    /// Its length is known in advance, so it needs no scratch buffer.
    private func writeEcho(
        _ response: borrowing Response, of request: borrowing RequestPipeline.PendingRequest, _ id: RequestID,
        _ framing: ResponseFraming, to buffer: inout ByteBuffer
    ) {
        let (organization, user) = (request.identity.organization, request.identity.user)
        let messageBytes = request.message?.readableBytes ?? 4
        let length =
            #"{"orgId":"","userId":"","requestId":"","message":}"#.utf8.count + organization.count + user.count
            + RequestID.length + messageBytes
        buffer.writeWithOutputRawSpan(minimumWritableBytes: Self.maximumHeadBytes + length) { output in
            writeHead(of: response, id, framing, contentLength: length, to: &output)
            if framing.omitsBody { return }
            let names = request.identity.bytes.readableBytesUInt8Span
            output.append(text: #"{"orgId":""#)
            output.append(bytes: names.extracting(organization))
            output.append(text: #"","userId":""#)
            output.append(bytes: names.extracting(user))
            output.append(text: #"","requestId":""#)
            output.append(id)
            output.append(text: #"","message":"#)
            if let message = request.message {
                output.append(bytes: message.readableBytesUInt8Span)
            } else {
                output.append(text: "null")
            }
            output.append(text: "}")
        }
    }

    private func writeBody(of response: borrowing Response, _ id: RequestID, to buffer: inout ByteBuffer) {
        switch response.content {
        case .page(let page, _): buffer.writeImmutableBuffer(page)
        case .error(let message):
            buffer.writeStaticString(#"{"error":""#)
            buffer.writeStaticString(response.status.reason)
            buffer.writeStaticString(#"","message":"#)
            buffer.writeJSONString(message)
            buffer.writeStaticString(#","requestId":""#)
            buffer.writeRequestID(id)
            buffer.writeStaticString(#""}"#)
        case .tooManyRequests: writeTooManyRequests(response, to: &buffer)
        case .chat, .none: break
        }
    }

    private func writeTooManyRequests(_ response: borrowing Response, to buffer: inout ByteBuffer) {
        guard let decision = response.decision else { return }
        buffer.writeStaticString(#"{"error":"Too Many Requests","message":"Rate limit exceeded; "#)
        if let seconds = response.retryAfterSeconds {
            buffer.writeStaticString("retry in ")
            buffer.writeDecimal(seconds)
            buffer.writeStaticString(#" s","limit":"#)
        } else {
            buffer.writeStaticString(#"the cost is above the limit","limit":"#)
        }
        buffer.writeDecimal(decision.limit.capacity)
        buffer.writeStaticString(#","remaining":"#)
        buffer.writeDecimal(decision.remaining)
        buffer.writeStaticString(#","resetAt":""#)
        buffer.writeMilliseconds(of: dateCache.timestamp(decision.resetAt))
        buffer.writeStaticString(#""}"#)
    }
}
