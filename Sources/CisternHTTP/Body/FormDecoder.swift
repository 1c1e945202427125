internal import NIOCore

/// Reads `application/x-www-form-urlencoded` bodies as the WHATWG URL standard, 5.1, says.
///
/// Every body is readable: a % without two hexadecimal digits stands for itself, and bytes that are not UTF-8 become
/// U+FFFD.
enum FormDecoder {
    /// The last value of `name`; nil where there is none.
    static func value(of name: String, in body: ByteBuffer) -> String? {
        let bytes = body.readableBytesView
        var found: String?
        var start = bytes.startIndex
        // Pairs are cut without an array of them: a body may be a million ampersands.
        while start < bytes.endIndex {
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "&")) ?? bytes.endIndex
            let pair = bytes[start..<end]
            let nameEnd = pair.firstIndex(of: UInt8(ascii: "=")) ?? end
            // A decoded name is never longer than it is written, and at most three times shorter.
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
