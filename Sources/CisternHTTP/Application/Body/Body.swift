internal import NIOCore

/// Finds the format of a request body and the `message` in it.
enum Body {
    /// The body's `message` as JSON, ready to echo; nil if the body has none.
    ///
    /// An empty body is valid for any content type, and so is any body of an unsupported type.
    static func message(of request: Request) throws(JSONScanner.Failure) -> ByteBuffer? {
        guard !request.body.isEmpty, request.bodyFormat != .opaque,
            let body = request.bytes.getSlice(
                at: request.bytes.readerIndex + request.body.lowerBound, length: request.body.count)
        else { return nil }
        guard request.bodyFormat == .form else { return try JSONScanner.value(of: "message", in: body) }
        return FormDecoder.value(of: "message", in: body).map { text in
            var quoted = ByteBuffer()
            quoted.writeJSONString(text)
            return quoted
        }
    }

    /// The format that a Content-Type names; its parameters are ignored.
    static func format(ofContentType value: Span<UInt8>) -> Request.BodyFormat {
        var end = 0
        while end < value.count, value[end] != UInt8(ascii: ";") { end += 1 }
        let type = value.extracting(HeaderLine.trimmed(value, 0..<end))
        if type.equals(caseless: "application/json") { return .json }
        return type.equals(caseless: "application/x-www-form-urlencoded") ? .form : .opaque
    }
}

extension ByteBuffer {
    /// Writes a quoted string, escaped according to RFC 8259, section 7.
    mutating func writeJSONString(_ text: String) {
        writeInteger(UInt8(ascii: "\""))
        guard text.utf8.contains(where: { $0 < 0x20 || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }) else {
            writeString(text)
            writeInteger(UInt8(ascii: "\""))
            return
        }
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                writeInteger(UInt8(ascii: "\\"))
                writeInteger(byte)
            case 0x00..<0x20:
                let digits = Array("0123456789abcdef".utf8)
                writeStaticString("\\u00")
                writeInteger(digits[Int(byte >> 4)])
                writeInteger(digits[Int(byte & 0xf)])
            default: writeInteger(byte)
            }
        }
        writeInteger(UInt8(ascii: "\""))
    }
}
