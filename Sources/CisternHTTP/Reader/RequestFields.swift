/// What of a request's header fields matters here: for the chain, and for where the request ends (RFC 9112, 5 to 7).
struct RequestFields {
    var organization = Request.SingleHeader.missing
    var user = Request.SingleHeader.missing
    var bodyFormat = Request.BodyFormat.opaque
    /// The announced length of the body.
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

    /// Whether the connection stays open after the answer.
    func keepsAlive(isVersion10: Bool) -> Bool {
        !saysClose && (!isVersion10 || saysKeepAlive)
    }

    /// Takes in a field of the head whose bytes these are.
    mutating func take(_ field: HeaderLine, _ bytes: Span<UInt8>) throws(RequestError) {
        let name = bytes.extracting(field.name)
        let value = bytes.extracting(field.value)
        // Most names differ in length alone, so a field of no interest costs one comparison.
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

    /// A list of options, of which two matter here.
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

    /// A length in decimal digits and nothing else; nil for any other text, and beyond 18 digits.
    private static func length(_ value: Span<UInt8>) -> Int? {
        guard 1...18 ~= value.count else { return nil }
        var length = 0
        for index in value.indices {
            guard UInt8(ascii: "0")...UInt8(ascii: "9") ~= value[index] else { return nil }
            length = length * 10 + Int(value[index] - UInt8(ascii: "0"))
        }
        return length
    }

    /// Refuses what would leave in doubt whom the request is for, or where it ends.
    mutating func check(isVersion10: Bool) throws(RequestError) {
        guard isVersion10 ? hosts <= 1 : hosts == 1 else {
            throw RequestError(status: .badRequest, message: "a request has exactly one Host header (RFC 9112, 3.2)")
        }
        if transferEncodings > 0 {
            guard contentLengths == 0, !isVersion10, transferEncodings == 1, isChunked else {
                throw RequestError(
                    status: .badRequest,
                    message: "the length of the body is ambiguous: send Content-Length or Transfer-Encoding: chunked")
            }
        }
        guard contentLengths == 0 || contentLengths == 1 && contentLength != nil else {
            throw RequestError(status: .badRequest, message: "Content-Length must stand there once, as a number")
        }
        // In HTTP/1.0 it is ignored (RFC 9110, 10.1.1).
        guard isVersion10 || !expectsOther else {
            throw RequestError(status: .expectationFailed, message: "the only expectation known here is 100-continue")
        }
        let hasBody = isChunked || (contentLength ?? 0) > 0
        if isVersion10 || !hasBody { expectsContinue = false }
    }
}
