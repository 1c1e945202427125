internal import NIOHTTP1

/// The head of a request as NIO's decoder gives it, turned into the chain's terms and checked for what would make its
/// framing or its target doubtful.
struct RequestHead {
    var request: Request
    var framing: AnswerFraming
    /// Whether the client waits for `100 Continue` before it sends the body.
    var expectsContinue = false
    /// The announced length of the body; nil where it is chunked or there is none.
    var contentLength: Int?

    /// Why a head is refused.
    ///
    /// The connection is closed after the answer, since where the next request begins is no longer sure.
    struct Refusal: Error, Equatable {
        let status: Status
        let message: String
    }

    /// What of a head matters for the connection rather than the request.
    private struct Fields {
        var hosts = 0
        var contentLengths: [String] = []
        var transferEncodings: [String] = []
        var expectation: String?
        var offersUpgrade = false
    }

    init(_ head: HTTPRequestHead) throws(Refusal) {
        guard head.version == .http1_1 || head.version == .http1_0 else {
            throw Refusal(status: .versionNotSupported, message: "this server speaks HTTP/1.1 and HTTP/1.0")
        }
        request = Request(method: Self.method(head.method), path: Self.path(of: head.uri))
        framing = AnswerFraming(
            keepsAlive: head.isKeepAlive, isVersion10: head.version == .http1_0, omitsBody: head.method == .HEAD)
        var fields = Fields()
        for (name, value) in head.headers { Self.take(name, value, into: &request, &fields) }
        try check(fields)
        // No other protocol is spoken here. The decoder takes such a request for the last one in HTTP/1.1 and gives
        // out nothing after it; so the answer must say that the connection ends.
        if fields.offersUpgrade || head.method == .CONNECT { framing.keepsAlive = false }
    }

    private static func take(_ name: String, _ value: String, into request: inout Request, _ fields: inout Fields) {
        // Most names differ in length alone, so a header of no interest costs one comparison.
        switch name.utf8.count {
        case 4 where name.isCaseInsensitivelyEqual(to: "host"): fields.hosts += 1
        case 6 where name.isCaseInsensitivelyEqual(to: "expect"): fields.expectation = value
        case 7 where name.isCaseInsensitivelyEqual(to: "upgrade"): fields.offersUpgrade = true
        case 8 where name.isCaseInsensitivelyEqual(to: "x-org-id"): request.organization.add(value)
        case 9 where name.isCaseInsensitivelyEqual(to: "x-user-id"): request.user.add(value)
        case 12 where name.isCaseInsensitivelyEqual(to: "content-type"):
            request.bodyFormat = Body.format(ofContentType: value)
        case 14 where name.isCaseInsensitivelyEqual(to: "content-length"): fields.contentLengths.append(value)
        case 17 where name.isCaseInsensitivelyEqual(to: "transfer-encoding"): fields.transferEncodings.append(value)
        default: break
        }
    }

    private mutating func check(_ fields: Fields) throws(Refusal) {
        if framing.isVersion10 ? fields.hosts > 1 : fields.hosts != 1 {
            throw Refusal(status: .badRequest, message: "a request has exactly one Host header (RFC 9112, 3.2)")
        }
        if !fields.transferEncodings.isEmpty {
            guard fields.contentLengths.isEmpty, !framing.isVersion10, fields.transferEncodings.count == 1,
                fields.transferEncodings[0].lowercased() == "chunked"
            else {
                throw Refusal(
                    status: .badRequest,
                    message: "the length of the body is ambiguous: send Content-Length or Transfer-Encoding: chunked")
            }
        }
        if let value = fields.contentLengths.first {
            guard fields.contentLengths.count == 1, let length = Int(value), !value.hasPrefix("+"), length >= 0 else {
                throw Refusal(status: .badRequest, message: "Content-Length must stand there once, as a number")
            }
            contentLength = length
        }
        if let expectation = fields.expectation, !framing.isVersion10 {
            guard expectation.lowercased() == "100-continue" else {
                throw Refusal(status: .expectationFailed, message: "the only expectation known here is 100-continue")
            }
            expectsContinue = contentLength != 0 && (contentLength != nil || !fields.transferEncodings.isEmpty)
        }
    }

    private static func method(_ method: HTTPMethod) -> Request.Method {
        switch method {
        case .GET: .get
        case .HEAD: .head
        case .POST: .post
        default: .other
        }
    }

    /// The path of a target in origin form (`/chat?x`) or absolute form (`http://host/chat`), without the query.
    private static func path(of target: String) -> String {
        let isPath = target.utf8.first == UInt8(ascii: "/")
        if isPath, !target.utf8.contains(where: { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }) {
            return target
        }
        var rest = target[...]
        if !rest.hasPrefix("/"), let scheme = rest.firstIndex(of: ":"), rest[scheme...].hasPrefix("://") {
            rest = rest[scheme...].dropFirst(3)
            rest = rest.firstIndex(of: "/").map { rest[$0...] } ?? "/"
        }
        return String(rest.prefix { $0 != "?" && $0 != "#" })
    }
}

extension String {
    /// Whether the two are equal but for the case of ASCII letters; `other` must be in lower case.
    fileprivate func isCaseInsensitivelyEqual(to other: String) -> Bool {
        utf8.elementsEqual(other.utf8) { left, right in
            left == right || (UInt8(ascii: "A")...UInt8(ascii: "Z") ~= left && left | 0x20 == right)
        }
    }
}
