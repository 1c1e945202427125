internal import NIOCore

/// Reads `application/x-www-form-urlencoded` bodies as the WHATWG URL standard, 5.1, says.
///
/// Every body is readable: a % without two hexadecimal digits stands for itself, and bytes that are not UTF-8 become
/// U+FFFD.
enum FormDecoder {
    /// The last value of `name`; nil where there is none.
    static func value(of name: String, in body: ByteBuffer) -> String? {
        var found: String?
        for pair in body.readableBytesView.split(separator: UInt8(ascii: "&")) {
            let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            if decoded(parts[0]) == name { found = parts.count > 1 ? decoded(parts[1]) : "" }
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
