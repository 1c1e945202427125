internal import NIOCore

/// Checks a JSON text (RFC 8259) in place and finds the value of one member of its outermost object.
///
/// Nothing is built: the value is a slice of the bytes, itself valid JSON, ready to be sent back as it is. Where the
/// member stands there several times the last one counts, as in most readers.
struct JSONScanner {
    /// How deep arrays and objects may lie in each other.
    static let maximumDepth = 64

    /// Why a text is not JSON, and at which byte.
    struct Failure: Error, Equatable, CustomStringConvertible {
        let what: String
        let offset: Int

        var description: String { "\(what) at byte \(offset)" }
    }

    private let bytes: ByteBufferView
    private var index: Int

    private init(_ bytes: ByteBufferView) {
        self.bytes = bytes
        index = bytes.startIndex
    }

    /// Checks the whole text and returns the member's value as it is written; nil where there is none.
    static func value(of member: StaticString, in text: ByteBuffer) throws(Failure) -> ByteBuffer? {
        var scanner = JSONScanner(text.readableBytesView)
        scanner.skipSpace()
        let range = try scanner.scanValue(depth: 0, member: member)
        scanner.skipSpace()
        guard scanner.index == scanner.bytes.endIndex else { throw scanner.failure("more than one value") }
        return range.map { ByteBuffer(scanner.bytes[$0]) }
    }

    private func failure(_ what: String) -> Failure {
        Failure(what: index < bytes.endIndex ? what : "the text ends too early", offset: index - bytes.startIndex)
    }

    private var byte: UInt8? {
        index < bytes.endIndex ? bytes[index] : nil
    }

    private mutating func skipSpace() {
        while let byte, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { index += 1 }
    }

    private mutating func take(_ expected: UInt8) -> Bool {
        guard byte == expected else { return false }
        index += 1
        return true
    }

    /// Passes over one value; if it is an object and `member` is given, returns where that member's value is.
    @discardableResult
    private mutating func scanValue(depth: Int, member: StaticString? = nil) throws(Failure) -> Range<Int>? {
        guard depth < Self.maximumDepth else { throw failure("arrays and objects lie more than 64 deep") }
        switch byte {
        case UInt8(ascii: "{"): return try scanObject(depth: depth, member: member)
        case UInt8(ascii: "["): try scanArray(depth: depth)
        case UInt8(ascii: "\""): _ = try scanString()
        case UInt8(ascii: "t"): try scanWord("true")
        case UInt8(ascii: "f"): try scanWord("false")
        case UInt8(ascii: "n"): try scanWord("null")
        default: try scanNumber()
        }
        return nil
    }

    private mutating func scanObject(depth: Int, member: StaticString?) throws(Failure) -> Range<Int>? {
        index += 1
        skipSpace()
        if take(UInt8(ascii: "}")) { return nil }
        var found: Range<Int>?
        while true {
            guard byte == UInt8(ascii: "\"") else { throw failure("a member name in quotes is expected") }
            let name = try scanString()
            skipSpace()
            guard take(UInt8(ascii: ":")) else { throw failure("':' is expected") }
            skipSpace()
            let start = index
            try scanValue(depth: depth + 1)
            if let member, isEqual(name, to: member) { found = start..<index }
            skipSpace()
            if take(UInt8(ascii: "}")) { return found }
            guard take(UInt8(ascii: ",")) else { throw failure("',' or '}' is expected") }
            skipSpace()
        }
    }

    private mutating func scanArray(depth: Int) throws(Failure) {
        index += 1
        skipSpace()
        if take(UInt8(ascii: "]")) { return }
        while true {
            try scanValue(depth: depth + 1)
            skipSpace()
            if take(UInt8(ascii: "]")) { return }
            guard take(UInt8(ascii: ",")) else { throw failure("',' or ']' is expected") }
            skipSpace()
        }
    }

    private mutating func scanWord(_ word: StaticString) throws(Failure) {
        for offset in 0..<word.utf8CodeUnitCount {
            guard take(word.utf8Start[offset]) else { throw failure("no JSON value") }
        }
    }

    private mutating func scanNumber() throws(Failure) {
        _ = take(UInt8(ascii: "-"))
        if !take(UInt8(ascii: "0")) { try scanDigits("no JSON value") }
        if take(UInt8(ascii: ".")) { try scanDigits("a digit is expected") }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            try scanDigits("a digit is expected")
        }
    }

    private mutating func scanDigits(_ otherwise: String) throws(Failure) {
        guard let byte, byte.isDigit else { throw failure(otherwise) }
        while let byte = self.byte, byte.isDigit { index += 1 }
    }

    /// Passes over a string and returns the range between its quotes.
    private mutating func scanString() throws(Failure) -> Range<Int> {
        index += 1
        let start = index
        while let byte {
            switch byte {
            case UInt8(ascii: "\""):
                index += 1
                return start..<(index - 1)
            case UInt8(ascii: "\\"): try scanEscape()
            case 0x00..<0x20: throw failure("a control character in a string")
            case 0x20..<0x80: index += 1
            default: try scanUTF8Sequence(lead: byte)
            }
        }
        throw failure("the text ends too early")
    }

    private mutating func scanEscape() throws(Failure) {
        index += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            index += 1
        case UInt8(ascii: "u"):
            index += 1
            for _ in 0..<4 {
                guard let byte, byte.hexadecimalValue != nil else {
                    throw failure("four hexadecimal digits are expected")
                }
                index += 1
            }
        default: throw failure("an unknown escape")
        }
    }

    /// Passes over one character of two to four bytes, with the bounds of RFC 3629, 4: no overlong forms, no
    /// surrogates, nothing beyond U+10FFFF.
    private mutating func scanUTF8Sequence(lead: UInt8) throws(Failure) {
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
        guard continuations > 0 else { throw failure("a byte that is not UTF-8") }
        index += 1
        for position in 0..<continuations {
            let allowed = position == 0 ? second : 0x80...0xbf
            guard let byte, allowed ~= byte else { throw failure("a byte that is not UTF-8") }
            index += 1
        }
    }

    /// Whether a member name, with its escapes resolved, is `name`, which must be ASCII.
    private func isEqual(_ range: Range<Int>, to name: StaticString) -> Bool {
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
