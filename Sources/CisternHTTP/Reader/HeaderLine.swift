/// Where in a field line its name and its value are (RFC 9112, 5).
struct HeaderLine {
    let name: Range<Int>
    /// Without the space around it.
    let value: Range<Int>
    /// Where the line ends.
    let end: Int

    /// Reads the line that stands in `bytes` at `range`.
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

    /// Refuses a trailer that would say where a request or the connection ends, or whom it is for (RFC 9110, 6.5.1).
    ///
    /// Nothing that could stand in any other is of interest.
    func checkTrailer(_ bytes: Span<UInt8>) throws(RequestError) {
        let name = bytes.extracting(name)
        guard !name.equals(caseless: "content-length"), !name.equals(caseless: "transfer-encoding"),
            !name.equals(caseless: "host"), !name.equals(caseless: "connection")
        else { throw .malformed("there is a field behind the body that can only stand before it") }
    }

    /// Refuses a tab, in a field that says where the request or the connection ends: not all readers take it for space.
    func checkNoTabs(_ bytes: Span<UInt8>) throws(RequestError) {
        for index in name.upperBound..<end where bytes[index] == UInt8(ascii: "\t") {
            throw .malformed("there is a tab in a field that frames the request")
        }
    }

    /// A range of some bytes without the space at its ends.
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
        if isAtSpace, index == range.lowerBound { return .malformed("a header field goes on over several lines") }
        if isAtSpace {
            return .malformed("there is a space in the name of a header field, or between it and the colon")
        }
        return .malformed("a header field has no name, or one with a character that cannot be in a name")
    }
}
