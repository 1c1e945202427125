internal import NIOCore

/// Validates a JSON text (RFC 8259) in place and finds one member of its top-level object.
///
/// It builds no tree: the member's value is a slice of the input, which is valid JSON and ready to echo. If the member
/// is repeated, the last one wins, as in most parsers.
struct JSONScanner {
    /// The maximum nesting depth of arrays and objects.
    static let maximumDepth = 64

    /// The reason that a text is not valid JSON, and the offset of the fault in bytes.
    struct Failure: Error, Equatable, CustomStringConvertible {
        let what: String
        let offset: Int

        var description: String { "\(what) at byte \(offset)" }
    }

    private var index = 0

    /// Validates the whole text and returns the unparsed value of the member; nil if there is none.
    static func value(of member: StaticString, in text: ByteBuffer) throws(Failure) -> ByteBuffer? {
        let range = try range(of: member, in: text.readableBytesUInt8Span)
        return range.flatMap { text.getSlice(at: text.readerIndex + $0.lowerBound, length: $0.count) }
    }

    private static func range(of member: StaticString, in bytes: Span<UInt8>) throws(Failure) -> Range<Int>? {
        var scanner = JSONScanner()
        scanner.skipSpace(bytes)
        let range = try scanner.scanValue(bytes, depth: 0, member: member)
        scanner.skipSpace(bytes)
        guard scanner.index == bytes.count else { throw scanner.failure(bytes, "unexpected text after the value") }
        return range
    }

    private func failure(_ bytes: Span<UInt8>, _ what: String) -> Failure {
        Failure(what: index < bytes.count ? what : "the text ends too early", offset: index)
    }

    /// The next byte; 0 at the end, because JSON never contains a 0 byte.
    @inline(__always)
    private func byte(_ bytes: Span<UInt8>) -> UInt8 {
        index < bytes.count ? bytes[index] : 0
    }

    private mutating func skipSpace(_ bytes: Span<UInt8>) {
        while index < bytes.count, bytes[index] <= 0x20 {
            switch bytes[index] {
            case 0x20, 0x0a, 0x0d, 0x09: index &+= 1
            default: return
            }
        }
    }

    @inline(__always)
    private mutating func take(_ bytes: Span<UInt8>, _ expected: UInt8) -> Bool {
        guard index < bytes.count, bytes[index] == expected else { return false }
        index &+= 1
        return true
    }

    /// Skips one value; if it is an object and `member` is given, returns the range of that member's value.
    @discardableResult
    private mutating func scanValue(
        _ bytes: Span<UInt8>, depth: Int, member: StaticString? = nil
    ) throws(Failure) -> Range<Int>? {
        guard depth < Self.maximumDepth else { throw failure(bytes, "arrays and objects nest more than 64 deep") }
        switch byte(bytes) {
        case UInt8(ascii: "{"): return try scanObject(bytes, depth: depth, member: member)
        case UInt8(ascii: "["): try scanArray(bytes, depth: depth)
        case UInt8(ascii: "\""): _ = try scanString(bytes)
        case UInt8(ascii: "t"): try scanWord(bytes, "true")
        case UInt8(ascii: "f"): try scanWord(bytes, "false")
        case UInt8(ascii: "n"): try scanWord(bytes, "null")
        default: try scanNumber(bytes)
        }
        return nil
    }

    private mutating func scanObject(
        _ bytes: Span<UInt8>, depth: Int, member: StaticString?
    ) throws(Failure) -> Range<Int>? {
        index += 1
        skipSpace(bytes)
        if take(bytes, UInt8(ascii: "}")) { return nil }
        var found: Range<Int>?
        while true {
            guard byte(bytes) == UInt8(ascii: "\"") else { throw failure(bytes, "a quoted member name is expected") }
            let name = try scanString(bytes)
            skipSpace(bytes)
            guard take(bytes, UInt8(ascii: ":")) else { throw failure(bytes, "':' is expected") }
            skipSpace(bytes)
            let start = index
            try scanValue(bytes, depth: depth + 1)
            if let member, Self.isEqual(bytes, name, to: member) { found = start..<index }
            skipSpace(bytes)
            if take(bytes, UInt8(ascii: "}")) { return found }
            guard take(bytes, UInt8(ascii: ",")) else { throw failure(bytes, "',' or '}' is expected") }
            skipSpace(bytes)
        }
    }

    private mutating func scanArray(_ bytes: Span<UInt8>, depth: Int) throws(Failure) {
        index += 1
        skipSpace(bytes)
        if take(bytes, UInt8(ascii: "]")) { return }
        while true {
            try scanValue(bytes, depth: depth + 1)
            skipSpace(bytes)
            if take(bytes, UInt8(ascii: "]")) { return }
            guard take(bytes, UInt8(ascii: ",")) else { throw failure(bytes, "',' or ']' is expected") }
            skipSpace(bytes)
        }
    }

    private mutating func scanWord(_ bytes: Span<UInt8>, _ word: StaticString) throws(Failure) {
        for offset in 0..<word.utf8CodeUnitCount {
            guard take(bytes, word.utf8Start[offset]) else { throw failure(bytes, "a JSON value is expected") }
        }
    }

    private mutating func scanNumber(_ bytes: Span<UInt8>) throws(Failure) {
        _ = take(bytes, UInt8(ascii: "-"))
        if !take(bytes, UInt8(ascii: "0")) { try scanDigits(bytes, "a JSON value is expected") }
        if take(bytes, UInt8(ascii: ".")) { try scanDigits(bytes, "a digit is expected") }
        if take(bytes, UInt8(ascii: "e")) || take(bytes, UInt8(ascii: "E")) {
            if !take(bytes, UInt8(ascii: "+")) { _ = take(bytes, UInt8(ascii: "-")) }
            try scanDigits(bytes, "a digit is expected")
        }
    }

    private mutating func scanDigits(_ bytes: Span<UInt8>, _ otherwise: String) throws(Failure) {
        guard byte(bytes).isDigit else { throw failure(bytes, otherwise) }
        while byte(bytes).isDigit { index += 1 }
    }

    /// Skips a string and returns the range between its quotes.
    private mutating func scanString(_ bytes: Span<UInt8>) throws(Failure) -> Range<Int> {
        index += 1
        let start = index
        while index < bytes.count {
            let byte = bytes[index]
            switch byte {
            case UInt8(ascii: "\""):
                index &+= 1
                return start..<(index &- 1)
            case UInt8(ascii: "\\"): try scanEscape(bytes)
            case 0x00..<0x20: throw failure(bytes, "a control character in a string")
            case 0x20..<0x80: index &+= 1
            default: try scanUTF8Sequence(bytes, lead: byte)
            }
        }
        throw failure(bytes, "the text ends too early")
    }

    private mutating func scanEscape(_ bytes: Span<UInt8>) throws(Failure) {
        index += 1
        switch byte(bytes) {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            index += 1
        case UInt8(ascii: "u"):
            index += 1
            for _ in 0..<4 {
                guard byte(bytes).hexadecimalValue != nil else {
                    throw failure(bytes, "four hexadecimal digits are expected")
                }
                index += 1
            }
        default: throw failure(bytes, "an unknown escape")
        }
    }

    /// Skips one UTF-8 character of two to four bytes (RFC 3629, section 4).
    ///
    /// It rejects overlong forms, surrogates, and code points above U+10FFFF.
    private mutating func scanUTF8Sequence(_ bytes: Span<UInt8>, lead: UInt8) throws(Failure) {
        let (continuations, second): (Int, ClosedRange<UInt8>) =
            switch lead {
            case 0xc2...0xdf: (1, 0x80...0xbf)
            case 0xe0: (2, 0xa0...0xbf)
            case 0xed: (2, 0x80...0x9f)
            case 0xe1...0xef: (2, 0x80...0xbf)
            case 0xf0: (3, 0x90...0xbf)
            case 0xf1...0xf3: (3, 0x80...0xbf)
            case 0xf4: (3, 0x80...0x8f)
            default: (0, 0x80...0xbf)
            }
        guard continuations > 0 else { throw failure(bytes, "a byte that is not UTF-8") }
        index += 1
        for position in 0..<continuations {
            guard (position == 0 ? second : 0x80...0xbf) ~= byte(bytes) else {
                throw failure(bytes, "a byte that is not UTF-8")
            }
            index += 1
        }
    }

    /// Whether a member name equals `name` after its escapes are decoded; `name` must be ASCII.
    private static func isEqual(_ bytes: Span<UInt8>, _ range: Range<Int>, to name: StaticString) -> Bool {
        var at = range.lowerBound
        for offset in 0..<name.utf8CodeUnitCount {
            guard at < range.upperBound else { return false }
            var unit = bytes[at]
            var length = 1
            if unit == UInt8(ascii: "\\") {
                guard at + 6 <= range.upperBound, bytes[at + 1] == UInt8(ascii: "u") else { return false }
                let value = (at + 2..<at + 6).reduce(0) { $0 * 16 + Int(bytes[$1].hexadecimalValue ?? 0) }
                guard let ascii = UInt8(exactly: value) else { return false }
                (unit, length) = (ascii, 6)
            }
            guard unit == name.utf8Start[offset] else { return false }
            at += length
        }
        return at == range.upperBound
    }
}

extension UInt8 {
    fileprivate var isDigit: Bool { UInt8(ascii: "0")...UInt8(ascii: "9") ~= self }

    /// The value of a hexadecimal digit; nil for any other byte.
    var hexadecimalValue: UInt8? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): self - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): self - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): self - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
