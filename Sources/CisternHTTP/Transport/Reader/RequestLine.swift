/// The first line of a request: method, target and version (RFC 9112, section 3).
struct RequestLine {
    let method: Request.Method
    let isConnect: Bool
    /// The path of the target, without the query.
    let path: Range<Int>
    let isVersion10: Bool

    /// Parses the line at `range` of `bytes`.
    init(_ bytes: Span<UInt8>, _ range: Range<Int>) throws(RequestError) {
        var index = range.lowerBound
        while index < range.upperBound, ASCIISet.token.contains(bytes[index]) { index &+= 1 }
        guard range.lowerBound < index, index < range.upperBound, bytes[index] == UInt8(ascii: " ") else {
            throw .malformed("it does not begin with a method and a space")
        }
        let name = bytes.extracting(range.lowerBound..<index)
        guard let method = Self.method(name) else { throw .unknownMethod(name.text) }
        self.method = method
        isConnect = method == .other && name.equals("CONNECT")
        let start = index &+ 1
        index = start
        while index < range.upperBound, ASCIISet.visible.contains(bytes[index]) { index &+= 1 }
        guard index > start else { throw .malformed("there is no target after the method") }
        let target = start..<index
        // A line without a version is HTTP/0.9, whose responses have no status.
        guard index < range.upperBound else { throw .version }
        guard bytes[index] == UInt8(ascii: " ") else { throw .malformed("the target contains an invalid byte") }
        isVersion10 = try Self.isVersion10(bytes.extracting(index &+ 1..<range.upperBound))
        path = try Self.path(bytes, target, isConnect: isConnect)
    }

    private static func isVersion10(_ version: Span<UInt8>) throws(RequestError) -> Bool {
        if version.equals("HTTP/1.1") { return false }
        if version.equals("HTTP/1.0") { return true }
        let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
        guard version.count == 8, version.extracting(0..<5).equals("HTTP/"), digits ~= version[5],
            version[6] == UInt8(ascii: "."), digits ~= version[7]
        else { throw .malformed("the request line does not end with a version") }
        // A later minor version is treated as HTTP/1.1 (RFC 9110, section 2.5).
        guard version[5] == UInt8(ascii: "1") else { throw .version }
        return false
    }

    /// The path of a target in origin form (`/chat?x`) or absolute form (`http://host/chat`).
    ///
    /// A target in any other form is returned whole and matches no route.
    private static func path(
        _ bytes: Span<UInt8>, _ target: Range<Int>, isConnect: Bool
    ) throws(RequestError) -> Range<Int> {
        let text = bytes.extracting(target)
        if isConnect {
            guard ASCIISet.authority.containsAll(text), Authority.isValid(text) else {
                throw .malformed("CONNECT requires a host and a port")
            }
            return target
        }
        if text.equals("*") { return target }
        var start = 0
        if text[0] != UInt8(ascii: "/") {
            let scheme = text.prefix(caseless: "http://") ? 7 : text.prefix(caseless: "https://") ? 8 : 0
            start = scheme
            while start < text.count, ASCIISet.authority.contains(text[start]) { start += 1 }
            guard scheme > 0, start > scheme, start == text.count || Self.endsAuthority(text[start]),
                Authority.isValid(text.extracting(scheme..<start))
            else {
                throw .malformed("the target is neither a path nor an http URL")
            }
        }
        var end = text.count
        for index in start..<text.count {
            switch text[index] {
            // Clients never send a fragment (RFC 9112, section 3.2); parsers disagree on whether the path includes it.
            case UInt8(ascii: "#"): throw .malformed("the target has a fragment")
            case UInt8(ascii: "?"): end = min(end, index)
            default: break
            }
        }
        return target.lowerBound + start..<target.lowerBound + end
    }

    private static func endsAuthority(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "/") || byte == UInt8(ascii: "?")
    }

    private static func method(_ name: Span<UInt8>) -> Request.Method? {
        if name.equals("POST") { return .post }
        if name.equals("GET") { return .get }
        if name.equals("HEAD") { return .head }
        if name.equals("OPTIONS") { return .options }
        for other in others where name.equals(other) { return .other }
        return nil
    }

    /// The other methods in use: from the IANA HTTP Method Registry, from UPnP, and from HTTP caches.
    private static let others: [StaticString] = [
        "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "ACL", "BIND", "CHECKOUT", "COPY", "LINK", "LOCK",
        "M-SEARCH", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MOVE", "NOTIFY", "PROPFIND", "PROPPATCH", "PURGE",
        "REBIND", "REPORT", "SEARCH", "SUBSCRIBE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE",
    ]
}

extension Span<UInt8> {
    fileprivate func prefix(caseless other: StaticString) -> Bool {
        count >= other.utf8CodeUnitCount && extracting(0..<other.utf8CodeUnitCount).equals(caseless: other)
    }
}
