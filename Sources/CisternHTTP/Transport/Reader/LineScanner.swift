/// Finds the end of a line in a head, a chunk header or trailers.
///
/// A line ends with CR LF, and the only control character in it is the tab. Other parsers treat a bare LF, a bare CR or
/// a NUL as a line end or a space, or drop it. This parser rejects them because they are ambiguous.
enum LineScanner {
    /// The result of a search.
    enum Search: Equatable {
        /// The line ends before this offset, which is the offset of its CR.
        case end(Int)
        /// The end has not arrived yet; the next search can start at this offset.
        case incomplete(Int)
        /// A control character at this offset.
        case control(Int)
    }

    /// Searches for the end of the line, beginning at `start`.
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

    /// The offset of the first byte that is below 0x20 or equal to 0x7f; `bytes.count` if there is none.
    private static func firstControl(_ bytes: Span<UInt8>, from start: Int) -> Int {
        // Tests eight bytes at once: subtracting 0x20 from a byte below 0x20 borrows into its highest bit (Mycroft,
        // 1987). The borrow may corrupt the results of later bytes, never of earlier ones, so the first match is right.
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
    /// Whether the two are equal, ignoring the case of ASCII letters.
    ///
    /// This span must have no control characters, and `other` only lowercase letters, digits, `-`, `.` and `/`. Then
    /// setting bit 0x20 turns uppercase letters into lowercase ones, and no other byte into a character of `other`.
    @inline(__always)
    func equals(caseless other: StaticString) -> Bool {
        equals(other, setting: 0x2020_2020_2020_2020)
    }

    /// Whether the bytes equal `other`.
    @inline(__always)
    func equals(_ other: StaticString) -> Bool {
        equals(other, setting: 0)
    }

    /// Compares eight bytes at a time, after setting `bits` in this span's bytes.
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

    /// The bytes as text for a message; invalid UTF-8 becomes U+FFFD.
    var text: String { withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) } }
}
