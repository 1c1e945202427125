internal import Cistern
internal import NIOCore

/// What is sent back for one request, before it is bytes.
struct Answer {
    /// The parts of an answer that are JSON or text.
    enum Content {
        /// An error as every error but 429 has it: reason, message and request id.
        case error(message: String)
        /// The body of a 429, with the decision's figures.
        case tooManyRequests
        /// The echo of `POST /chat`.
        case chat(Identity, message: ByteBuffer?)
        /// A page of the operators' plane.
        case page(ByteBuffer, type: String)
    }

    let status: Status
    let content: Content
    /// The decision whose figures go into the headers; nil where the request was not authenticated.
    var decision: Decision?
    /// Seconds for `Retry-After`; nil for none.
    var retryAfterSeconds: Int?
    /// The methods for `Allow`; nil for none.
    var allow: StaticString?

    static func error(_ status: Status, _ message: String) -> Answer {
        Answer(status: status, content: .error(message: message))
    }
}

/// How an answer is framed.
struct AnswerFraming {
    /// Whether the connection stays open for another request.
    var keepsAlive = true
    /// Whether the request came as HTTP/1.0, where staying open must be said.
    var isVersion10 = false
    /// Whether the body is left out, for HEAD.
    var omitsBody = false
}

/// Turns answers into bytes.
struct AnswerWriter {
    let id: RequestID
    let calendar: Calendar
    let framing: AnswerFraming

    /// What the wall clock says, read once a second or so.
    struct Calendar {
        /// Milliseconds from the decisions' clock to 1970-01-01 UTC.
        var offsetMilliseconds: Int64
        /// The value of the `Date` header.
        var httpDate: ByteBuffer

        func timestamp(_ instant: Instant) -> Timestamp {
            Timestamp(unixMilliseconds: instant.milliseconds + offsetMilliseconds)
        }
    }

    /// Appends the answer, head and body, to `buffer`.
    ///
    /// - Parameter scratch: where the body is written first, since its length stands in the head; what is in it is lost.
    func write(_ answer: Answer, to buffer: inout ByteBuffer, scratch: inout ByteBuffer) {
        scratch.clear()
        writeBody(of: answer, to: &scratch)
        writeHead(of: answer, contentLength: scratch.readableBytes, to: &buffer)
        if !framing.omitsBody { buffer.writeImmutableBuffer(scratch) }
    }

    private func writeHead(of answer: Answer, contentLength: Int, to buffer: inout ByteBuffer) {
        if answer.status == .ok {
            buffer.writeStaticString("HTTP/1.1 200 OK\r\nDate: ")
        } else {
            buffer.writeStaticString("HTTP/1.1 ")
            buffer.writeDecimal(answer.status.rawValue)
            buffer.writeStaticString(" ")
            buffer.writeString(answer.status.reason)
            buffer.writeStaticString("\r\nDate: ")
        }
        buffer.writeImmutableBuffer(calendar.httpDate)
        buffer.writeStaticString("\r\nX-Request-ID: ")
        buffer.writeRequestID(id)
        if let decision = answer.decision {
            buffer.writeStaticString("\r\nX-RateLimit-Limit: ")
            buffer.writeDecimal(decision.limit.capacity)
            buffer.writeStaticString("\r\nX-RateLimit-Remaining: ")
            buffer.writeDecimal(decision.remaining)
            buffer.writeStaticString("\r\nX-RateLimit-Reset: ")
            buffer.writeSeconds(of: calendar.timestamp(decision.resetAt))
        }
        if let seconds = answer.retryAfterSeconds {
            buffer.writeStaticString("\r\nRetry-After: ")
            buffer.writeDecimal(seconds)
        }
        if let allow = answer.allow {
            buffer.writeStaticString("\r\nAllow: ")
            buffer.writeStaticString(allow)
        }
        if case .page(_, let type) = answer.content {
            buffer.writeStaticString("\r\nContent-Type: ")
            buffer.writeString(type)
            buffer.writeStaticString("\r\nContent-Length: ")
        } else {
            buffer.writeStaticString("\r\nContent-Type: application/json\r\nContent-Length: ")
        }
        buffer.writeDecimal(contentLength)
        if !framing.keepsAlive {
            buffer.writeStaticString("\r\nConnection: close")
        } else if framing.isVersion10 {
            buffer.writeStaticString("\r\nConnection: keep-alive")
        }
        buffer.writeStaticString("\r\n\r\n")
    }

    private func writeBody(of answer: Answer, to buffer: inout ByteBuffer) {
        switch answer.content {
        case .page(let page, _):
            buffer.writeImmutableBuffer(page)
        case .error(let message):
            buffer.writeStaticString(#"{"error":"#)
            buffer.writeJSONString(answer.status.reason)
            buffer.writeStaticString(#","message":"#)
            buffer.writeJSONString(message)
            buffer.writeStaticString(#","requestId":""#)
            buffer.writeRequestID(id)
            buffer.writeStaticString(#""}"#)
        case .chat(let identity, let message):
            buffer.writeStaticString(#"{"orgId":"#)
            buffer.writeJSONString(identity.organization)
            buffer.writeStaticString(#","userId":"#)
            buffer.writeJSONString(identity.user)
            buffer.writeStaticString(#","requestId":""#)
            buffer.writeRequestID(id)
            buffer.writeStaticString(#"","message":"#)
            if let message { buffer.writeImmutableBuffer(message) } else { buffer.writeStaticString("null") }
            buffer.writeStaticString("}")
        case .tooManyRequests:
            writeTooManyRequests(answer, to: &buffer)
        }
    }

    private func writeTooManyRequests(_ answer: Answer, to buffer: inout ByteBuffer) {
        guard let decision = answer.decision else { return }
        buffer.writeStaticString(#"{"error":"Too Many Requests","message":"Rate limit exceeded; retry in "#)
        buffer.writeDecimal(answer.retryAfterSeconds ?? 1)
        buffer.writeStaticString(#" s","limit":"#)
        buffer.writeDecimal(decision.limit.capacity)
        buffer.writeStaticString(#","remaining":"#)
        buffer.writeDecimal(decision.remaining)
        buffer.writeStaticString(#","resetAt":""#)
        buffer.writeMilliseconds(of: calendar.timestamp(decision.resetAt))
        buffer.writeStaticString(#""}"#)
    }
}
