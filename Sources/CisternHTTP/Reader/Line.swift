/// The lines of a head, of chunk sizes and of trailers: each ends with CR LF, and nothing but tabs is a control character.
///
/// A line feed alone, a carriage return without one, a zero byte: other readers take them for line ends, for spaces, or leave
/// them out. What could be read in two ways is refused.
enum Line {
    /// What is at a place.
    enum Search: Equatable {
        /// A line that ends before this offset, where its CR stands.
        case end(Int)
        /// No end yet: nothing before this offset need be looked at again.
        case incomplete(Int)
        /// A control character at this offset.
        case control(Int)
    }

    /// Looks for the end of the line from an offset on.
    static func search(_ bytes: Span<UInt8>, from start: Int) -> Search {
        var index = start
        while true {
            index = firstControl(bytes, from: index)
            guard index < bytes.count else { return .incomplete(index) }
            if bytes[index] == UInt8(ascii: "\t") {
                index += 1
                continue
            }
            guard bytes[index] == UInt8(ascii: "\r") else { return .control(index) }
            guard index + 1 < bytes.count else { return .incomplete(index) }
            return bytes[index + 1] == UInt8(ascii: "\n") ? .end(index) : .control(index)
        }
    }

    /// The offset of the first byte below 0x20, or 0x7f; the end where there is none.
    ///
    /// Eight bytes at a time: in each, what is below 0x20 borrows from its highest bit (Mycroft, 1987). A borrow may
    /// spoil what comes after the first one found, never what comes before it.
    private static func firstControl(_ bytes: Span<UInt8>, from start: Int) -> Int {
        let (ones, tops): (UInt64, UInt64) = (0x0101_0101_0101_0101, 0x8080_8080_8080_8080)
        var index = start
        while index &+ 8 <= bytes.count {
            let word = UInt64(littleEndian: bytes.bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self))
            let deleted = word ^ (ones &* 0x7f)
            let found = ((word &- ones &* 0x20) & ~word | (deleted &- ones) & ~deleted) & tops
            if found != 0 { return index &+ found.trailingZeroBitCount / 8 }
            index &+= 8
        }
        while index < bytes.count, bytes[index] >= 0x20, bytes[index] != 0x7f { index &+= 1 }
        return index
    }
}

extension Span<UInt8> {
    /// Whether the two are equal but for the case of ASCII letters.
    ///
    /// There must be no control characters here, and `other` be of small letters, digits, `-`, `.` and `/`: then setting
    /// one bit makes small letters of capitals, and of nothing else one of those.
    @inline(__always)
    func equals(caseless other: StaticString) -> Bool {
        equals(other, setting: 0x2020_2020_2020_2020)
    }

    /// Whether the bytes are those of `other`.
    @inline(__always)
    func equals(_ other: StaticString) -> Bool {
        equals(other, setting: 0)
    }

    /// Eight bytes at a time.
    @inline(__always)
    private func equals(_ other: StaticString, setting bits: UInt64) -> Bool {
        guard count == other.utf8CodeUnitCount else { return false }
        let expected = UnsafeRawPointer(other.utf8Start)
        var index = 0
        while index &+ 8 <= count {
            let word = bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
            if word | bits != expected.loadUnaligned(fromByteOffset: index, as: UInt64.self) { return false }
            index &+= 8
        }
        while index < count {
            if self[index] | UInt8(truncatingIfNeeded: bits) != other.utf8Start[index] { return false }
            index &+= 1
        }
        return true
    }

    /// As text, for a message; what is not UTF-8 becomes U+FFFD.
    var text: String { withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) } }
}
