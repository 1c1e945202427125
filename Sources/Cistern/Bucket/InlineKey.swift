/// A key of up to 36 bytes (a UUID's length), stored as words: a comparison takes one load and compare per eight bytes.
///
/// For a longer key, only zeros are stored here; the table keeps its bytes elsewhere.
struct InlineKey: BitwiseCopyable {
    static let capacity = 36
    /// The key lengths of the fast path, among them a UUID's: all words load independently.
    static let commonLengths = 33...capacity

    // Separate words instead of an array, so that they stay in registers. Bytes beyond the key are 0.
    private var first: UInt64
    private var second: UInt64
    private var third: UInt64
    private var fourth: UInt64
    /// The last four bytes of a key of more than 32 bytes; they may overlap the words.
    private var tail: UInt32

    /// Stores a key whose length is in ``commonLengths``.
    @inline(__always)
    init(common key: Span<UInt8>) {
        (first, second, third, fourth) = (key.word(0), key.word(1), key.word(2), key.word(3))
        tail = UInt32(truncatingIfNeeded: key.wordEnding(0) >> 32)
    }

    /// Stores a key of up to ``capacity`` bytes, or zeros for a longer key.
    init(_ key: Span<UInt8>) {
        self = Self.commonLengths ~= key.count ? InlineKey(common: key) : Self.padded(key)
    }

    private init(_ words: (UInt64, UInt64, UInt64, UInt64)) {
        (first, second, third, fourth) = words
        tail = 0
    }

    /// A key of up to 32 bytes, padded with zeros; all zeros for a longer key.
    private static func padded(_ key: Span<UInt8>) -> InlineKey {
        func word(_ index: Int) -> UInt64 {
            if key.count > 32 || key.count <= index * 8 { return 0 }
            return key.count >= index * 8 + 8 ? key.word(index) : key.trailingWord
        }
        return InlineKey((word(0), word(1), word(2), word(3)))
    }

    /// The bytes of the stored key, whose length is `count`.
    func bytes(_ count: Int) -> [UInt8] {
        let words = [first, second, third, fourth]
        return (0..<count).map { index in
            index < 32
                ? UInt8(truncatingIfNeeded: words[index / 8] >> UInt64(index % 8 * 8))
                : UInt8(truncatingIfNeeded: tail >> UInt32((index + 4 - count) * 8))
        }
    }

    /// 0 if both store the same bytes.
    @inline(__always)
    func difference(from other: InlineKey) -> UInt64 {
        let start = (first ^ other.first) | (second ^ other.second)
        let end = (third ^ other.third) | (fourth ^ other.fourth)
        return start | end | UInt64(tail ^ other.tail)
    }
}

extension Span<UInt8> {
    /// Whether the span and the array hold the same bytes.
    package func equals(_ other: [UInt8]) -> Bool {
        guard count == other.count else { return false }
        for index in indices where self[index] != other[index] { return false }
        return true
    }

    /// The eight bytes from offset `8 × index` on, as a little-endian word; all of them must exist.
    @inline(__always)
    func word(_ index: Int) -> UInt64 {
        load(index &* 8, as: UInt64.self)
    }

    /// The eight bytes that end `bytesBeforeEnd` bytes before the end, as a little-endian word; all of them must exist.
    @inline(__always)
    func wordEnding(_ bytesBeforeEnd: Int) -> UInt64 {
        load(count &- bytesBeforeEnd &- 8, as: UInt64.self)
    }

    /// The bytes after the last whole word, as a little-endian word padded with zeros; at least one byte must exist.
    ///
    /// Reads with overlapping loads instead of byte by byte.
    @inline(__always)
    var trailingWord: UInt64 {
        let left = count & 7
        if count >= 8 { return load(count &- 8, as: UInt64.self) >> UInt64(truncatingIfNeeded: 64 &- left &* 8) }
        if left >= 4 {
            let end = UInt64(load(left &- 4, as: UInt32.self)) << UInt64(truncatingIfNeeded: (left &- 4) &* 8)
            return UInt64(load(0, as: UInt32.self)) | end
        }
        // One to three bytes: the first, the middle and the last one.
        let middle = left / 2
        return UInt64(self[0]) | UInt64(self[middle]) << UInt64(truncatingIfNeeded: middle &* 8)
            | UInt64(self[left &- 1]) << UInt64(truncatingIfNeeded: (left &- 1) &* 8)
    }

    /// The little-endian integer at a byte offset; bounds-checked.
    @inline(__always)
    private func load<Number: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as type: Number.Type) -> Number {
        precondition(offset >= 0 && offset &+ MemoryLayout<Number>.size <= count, "bytes beyond the end")
        return Number(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: type))
    }
}
