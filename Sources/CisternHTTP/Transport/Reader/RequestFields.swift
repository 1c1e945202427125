/// The header fields that identify the sender or frame the request (RFC 9112, sections 5 to 7).
struct RequestFields {
    var organization = Request.SingleHeader.missing
    var user = Request.SingleHeader.missing
    var bodyFormat = Request.BodyFormat.opaque
    /// The value of `Content-Length`; nil if there is none, or an invalid one.
    private(set) var contentLength: Int?
    private(set) var isChunked = false
    /// Whether the client waits for `100 Continue` before it sends the body.
    private(set) var expectsContinue = false
    private var expectsOther = false
    private var hosts = 0
    private var contentLengths = 0
    private var transferEncodings = 0
    private var saysClose = false
    private var saysKeepAlive = false

    /// Whether the connection stays open after the response.
    func keepsAlive(isVersion10: Bool) -> Bool {
        !saysClose && (!isVersion10 || saysKeepAlive)
    }

    /// Records one header line; `bytes` are the bytes of the head.
    mutating func take(_ field: HeaderLine, _ bytes: Span<UInt8>) throws(RequestError) {
        let name = bytes.extracting(field.name)
        let value = bytes.extracting(field.value)
        // Most other names differ from these in length, so an unused field costs one comparison.
        switch name.count {
        case 4 where name.equals(caseless: "host"):
            hosts += 1
            guard ASCIISet.host.containsAll(value), Authority.isValid(value) else {
                throw .malformed("Host is not a host, with or without a port")
            }
        case 6 where name.equals(caseless: "expect"):
            expectsContinue = value.equals(caseless: "100-continue")
            expectsOther = expectsOther || !expectsContinue
        case 8 where name.equals(caseless: "x-org-id"): organization.add(field.value)
        case 9 where name.equals(caseless: "x-user-id"): user.add(field.value)
        case 10 where name.equals(caseless: "connection"):
            try field.checkNoTabs(bytes)
            takeConnection(value)
        case 12 where name.equals(caseless: "content-type"): bodyFormat = Body.format(ofContentType: value)
        case 14 where name.equals(caseless: "content-length"):
            contentLengths += 1
            try field.checkNoTabs(bytes)
            contentLength = Self.length(value)
        case 17 where name.equals(caseless: "transfer-encoding"):
            try field.checkNoTabs(bytes)
            transferEncodings += 1
            isChunked = value.equals(caseless: "chunked")
        default: break
        }
    }

    /// Reads `close` and `keep-alive` from a `Connection` list; other options have no effect.
    private mutating func takeConnection(_ value: Span<UInt8>) {
        var start = 0
        while start <= value.count {
            var end = start
            while end < value.count, value[end] != UInt8(ascii: ",") { end += 1 }
            let option = value.extracting(HeaderLine.trimmed(value, start..<end))
            if option.equals(caseless: "close") { saysClose = true }
            if option.equals(caseless: "keep-alive") { saysKeepAlive = true }
            start = end + 1
        }
    }

    /// A length of 1 to 18 decimal digits; nil for any other text.
    private static func length(_ value: Span<UInt8>) -> Int? {
        guard 1...18 ~= value.count else { return nil }
        var length = 0
        for index in value.indices {
            guard UInt8(ascii: "0")...UInt8(ascii: "9") ~= value[index] else { return nil }
            length = length * 10 + Int(value[index] - UInt8(ascii: "0"))
        }
        return length
    }

    /// Rejects a head whose host or body length is ambiguous, or whose `Expect` is unknown.
    mutating func check(isVersion10: Bool) throws(RequestError) {
        guard isVersion10 ? hosts <= 1 : hosts == 1 else {
            throw RequestError(status: .badRequest, message: "send exactly one Host header (RFC 9112, section 3.2)")
        }
        if transferEncodings > 0 {
            guard contentLengths == 0, !isVersion10, transferEncodings == 1, isChunked else {
                throw RequestError(
                    status: .badRequest,
                    message: "the length of the body is ambiguous: send Content-Length or Transfer-Encoding: chunked")
            }
        }
        guard contentLengths == 0 || contentLengths == 1 && contentLength != nil else {
            throw RequestError(status: .badRequest, message: "send Content-Length once, as a decimal number")
        }
        // An HTTP/1.0 request's Expect is ignored (RFC 9110, section 10.1.1).
        guard isVersion10 || !expectsOther else {
            throw RequestError(status: .expectationFailed, message: "the only supported Expect value is 100-continue")
        }
        let hasBody = isChunked || (contentLength ?? 0) > 0
        if isVersion10 || !hasBody { expectsContinue = false }
    }
}
