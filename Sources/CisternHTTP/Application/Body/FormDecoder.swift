internal import NIOCore

/// Decodes `application/x-www-form-urlencoded` bodies (WHATWG URL standard, section 5.1).
///
/// Decoding never fails: a `%` without two hexadecimal digits is literal, and invalid UTF-8 becomes U+FFFD.
enum FormDecoder {
    /// The value of the last pair called `name`; nil if there is none.
    static func value(of name: String, in body: ByteBuffer) -> String? {
        let bytes = body.readableBytesView
        var found: String?
        var start = bytes.startIndex
        // No array of pairs, since a body may consist of a million ampersands.
        while start < bytes.endIndex {
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "&")) ?? bytes.endIndex
            let pair = bytes[start..<end]
            let nameEnd = pair.firstIndex(of: UInt8(ascii: "=")) ?? end
            // Decoding never lengthens a name and shrinks it at most threefold, so other lengths cannot match.
            if name.utf8.count...name.utf8.count * 3 ~= nameEnd - start, decoded(bytes[start..<nameEnd]) == name {
                found = nameEnd < end ? decoded(bytes[(nameEnd + 1)..<end]) : ""
            }
            start = end + 1
        }
        return found
    }

    private static func decoded(_ bytes: ByteBufferView) -> String {
        var output: [UInt8] = []
        var index = bytes.startIndex
        while index < bytes.endIndex {
            let byte = bytes[index]
            if byte == UInt8(ascii: "+") {
                output.append(UInt8(ascii: " "))
            } else if byte == UInt8(ascii: "%"), index + 2 < bytes.endIndex,
                let high = bytes[index + 1].hexadecimalValue, let low = bytes[index + 2].hexadecimalValue
            {
                output.append(high << 4 | low)
                index += 2
            } else {
                output.append(byte)
            }
            index += 1
        }
        return String(decoding: output, as: UTF8.self)
    }
}
