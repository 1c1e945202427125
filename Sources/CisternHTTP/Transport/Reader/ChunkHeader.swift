/// The line before a chunk: the chunk's size, and extensions, which are ignored (RFC 9112, section 7.1).
enum ChunkHeader {
    /// The maximum length of a line, in bytes: legitimate extensions are rare and short.
    static let maximumBytes = 256

    /// The size of the chunk, in bytes.
    static func size(_ line: Span<UInt8>) throws(RequestError) -> Int {
        var (index, size) = (0, 0)
        while index < line.count, let digit = line[index].hexadecimalValue {
            guard index < 15 else { throw .malformed("a chunk size has more than 15 digits") }
            size = size << 4 | Int(digit)
            index += 1
        }
        guard index > 0 else { throw .malformed("a chunk does not begin with its size in hexadecimal digits") }
        while index < line.count { index = try endOfExtension(line, from: index) }
        return size
    }

    /// The end of the extension that begins at `start`: `;name`, `;name=value` or `;name="value"`.
    private static func endOfExtension(_ line: Span<UInt8>, from start: Int) throws(RequestError) -> Int {
        guard line[start] == UInt8(ascii: ";") else {
            throw .malformed("unexpected text follows the size of a chunk")
        }
        var index = try endOfToken(line, from: start + 1)
        guard index < line.count, line[index] == UInt8(ascii: "=") else { return index }
        index += 1
        guard index < line.count, line[index] == UInt8(ascii: "\"") else { return try endOfToken(line, from: index) }
        index += 1
        while index < line.count, ASCIISet.quotedText.contains(line[index]) { index += 1 }
        guard index < line.count, line[index] == UInt8(ascii: "\"") else {
            throw .malformed("a chunk has an extension whose quoted value is not terminated")
        }
        return index + 1
    }

    private static func endOfToken(_ line: Span<UInt8>, from start: Int) throws(RequestError) -> Int {
        var index = start
        while index < line.count, ASCIISet.token.contains(line[index]) { index += 1 }
        guard index > start else { throw .malformed("a chunk has an extension without a name or a value") }
        return index
    }
}
