/// One header line: the ranges of its name and its value (RFC 9112, section 5).
struct HeaderLine {
    let name: Range<Int>
    /// The range of the value without surrounding whitespace.
    let value: Range<Int>
    /// The offset of the line's end.
    let end: Int

    /// Parses the line at `range` of `bytes`.
    init(_ bytes: Span<UInt8>, _ range: Range<Int>) throws(RequestError) {
        var colon = range.lowerBound
        while colon < range.upperBound, ASCIISet.token.contains(bytes[colon]) { colon &+= 1 }
        guard colon > range.lowerBound, colon < range.upperBound, bytes[colon] == UInt8(ascii: ":") else {
            throw Self.refusal(bytes, range, at: colon)
        }
        name = range.lowerBound..<colon
        value = Self.trimmed(bytes, colon &+ 1..<range.upperBound)
        end = range.upperBound
    }

    /// Rejects a trailer that frames or routes the request, or controls the connection (RFC 9110, section 6.5.1).
    ///
    /// The server ignores all other trailers.
    func checkTrailer(_ bytes: Span<UInt8>) throws(RequestError) {
        let name = bytes.extracting(name)
        guard !name.equals(caseless: "content-length"), !name.equals(caseless: "transfer-encoding"),
            !name.equals(caseless: "host"), !name.equals(caseless: "connection")
        else { throw .malformed("a trailer is a field that is allowed only in the head") }
    }

    /// Rejects a tab in a field that frames the request: not all parsers treat a tab as whitespace.
    func checkNoTabs(_ bytes: Span<UInt8>) throws(RequestError) {
        for index in name.upperBound..<end where bytes[index] == UInt8(ascii: "\t") {
            throw .malformed("a header field that frames the request contains a tab")
        }
    }

    /// The range without leading and trailing spaces and tabs.
    @inline(__always)
    static func trimmed(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Range<Int> {
        var (start, end) = (range.lowerBound, range.upperBound)
        while start < end, isSpace(bytes[start]) { start &+= 1 }
        while end > start, isSpace(bytes[end &- 1]) { end &-= 1 }
        return start..<end
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t")
    }

    private static func refusal(_ bytes: Span<UInt8>, _ range: Range<Int>, at index: Int) -> RequestError {
        let isAtSpace = index < range.upperBound && isSpace(bytes[index])
        if isAtSpace, index == range.lowerBound { return .malformed("a header field is folded over several lines") }
        if isAtSpace {
            return .malformed("a header field has a space in its name or before its colon")
        }
        return .malformed("a header field has no name, no colon, or an invalid character in its name")
    }
}
