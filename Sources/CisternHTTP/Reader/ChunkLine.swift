/// The line before a chunk: its size, and extensions, which mean nothing here (RFC 9112, 7.1).
enum ChunkLine {
    /// The longest line, in bytes; clients send extensions seldom, and attackers long ones.
    static let maximumBytes = 256

    /// The size that the line says, in bytes.
    static func size(_ line: Span<UInt8>) throws(RequestError) -> Int {
        var (index, size) = (0, 0)
        while index < line.count, let digit = line[index].hexadecimalValue {
            guard index < 15 else { throw .malformed("a chunk is too long") }
            size = size << 4 | Int(digit)
            index += 1
        }
        guard index > 0 else { throw .malformed("a chunk does not begin with its size in hexadecimal digits") }
        while index < line.count { index = try endOfExtension(line, from: index) }
        return size
    }

    /// Where an extension ends that begins at an offset: `;name`, `;name=value` or `;name="value"`.
    private static func endOfExtension(_ line: Span<UInt8>, from start: Int) throws(RequestError) -> Int {
        guard line[start] == UInt8(ascii: ";") else {
            throw .malformed("there is something else behind the size of a chunk")
        }
        var index = try endOfToken(line, from: start + 1)
        guard index < line.count, line[index] == UInt8(ascii: "=") else { return index }
        index += 1
        guard index < line.count, line[index] == UInt8(ascii: "\"") else { return try endOfToken(line, from: index) }
        index += 1
        while index < line.count, ASCIISet.quotedText.contains(line[index]) { index += 1 }
        guard index < line.count, line[index] == UInt8(ascii: "\"") else {
            throw .malformed("a chunk has an extension whose value is not closed")
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
