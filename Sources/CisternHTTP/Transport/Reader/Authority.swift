/// A host with an optional port, in `Host` or in a request target (RFC 3986, sections 3.2.2 and 3.2.3).
enum Authority {
    /// Whether `text` is a host, optionally followed by a colon and a port up to 65535; both may be empty.
    ///
    /// The caller must have checked the characters.
    static func isValid(_ text: Span<UInt8>) -> Bool {
        var end = 0
        if text.count > 0, text[0] == UInt8(ascii: "[") {
            while end < text.count, text[end] != UInt8(ascii: "]") { end += 1 }
            guard end < text.count, end > 1 else { return false }
            end += 1
        } else {
            while end < text.count, text[end] != UInt8(ascii: ":") {
                if text[end] == UInt8(ascii: "[") || text[end] == UInt8(ascii: "]") { return false }
                end += 1
            }
        }
        guard end < text.count else { return true }
        return text[end] == UInt8(ascii: ":") && isPort(text.extracting(end + 1..<text.count))
    }

    private static func isPort(_ text: Span<UInt8>) -> Bool {
        var port = 0
        for index in text.indices {
            guard UInt8(ascii: "0")...UInt8(ascii: "9") ~= text[index], port <= 65_535 else { return false }
            port = port * 10 + Int(text[index] - UInt8(ascii: "0"))
        }
        return port <= 65_535
    }
}
