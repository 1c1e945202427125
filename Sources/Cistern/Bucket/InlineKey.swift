/// A name of up to 36 bytes, as a UUID has, kept as words so that comparing it takes one load and one compare for eight bytes.
///
/// Of a longer name nothing is kept here; its bytes are somebody else's to keep.
struct InlineKey: BitwiseCopyable {
    static let capacity = 36
    /// The lengths that take no step that depends on another, among them a UUID's.
    static let commonLengths = 33...capacity

    // Words of their own, not an array: they stay in registers. What is beyond the name is 0.
    private var first: UInt64
    private var second: UInt64
    private var third: UInt64
    private var fourth: UInt64
    /// The last four bytes of a name that is longer than the words, some of which may stand there, too.
    private var tail: UInt32

    /// A name of one of ``commonLengths``.
    @inline(__always)
    init(common key: Span<UInt8>) {
        (first, second, third, fourth) = (key.word(0), key.word(1), key.word(2), key.word(3))
        tail = UInt32(truncatingIfNeeded: key.wordEnding(0) >> 32)
    }

    /// Any name of up to ``capacity`` bytes, and no bytes of a longer one.
    init(_ key: Span<UInt8>) {
        self = Self.commonLengths ~= key.count ? InlineKey(common: key) : Self.padded(key)
    }

    private init(_ words: (UInt64, UInt64, UInt64, UInt64)) {
        (first, second, third, fourth) = words
        tail = 0
    }

    /// Any name of up to 32 bytes, and no bytes of a longer one.
    private static func padded(_ key: Span<UInt8>) -> InlineKey {
        func word(_ index: Int) -> UInt64 {
            if key.count > 32 || key.count <= index * 8 { return 0 }
            return key.count >= index * 8 + 8 ? key.word(index) : key.lastWord
        }
        return InlineKey((word(0), word(1), word(2), word(3)))
    }

    /// The bytes of a name of this length that stands here.
    func bytes(_ count: Int) -> [UInt8] {
        let words = [first, second, third, fourth]
        return (0..<count).map { index in
            index < 32
                ? UInt8(truncatingIfNeeded: words[index / 8] >> UInt64(index % 8 * 8))
                : UInt8(truncatingIfNeeded: tail >> UInt32((index + 4 - count) * 8))
        }
    }

    /// 0 where both are the same.
    @inline(__always)
    func difference(from other: InlineKey) -> UInt64 {
        let start = (first ^ other.first) | (second ^ other.second)
        let end = (third ^ other.third) | (fourth ^ other.fourth)
        return start | end | UInt64(tail ^ other.tail)
    }
}

extension Span<UInt8> {
    /// Whether these bytes are those of an array.
    package func equals(_ other: [UInt8]) -> Bool {
        guard count == other.count else { return false }
        for index in indices where self[index] != other[index] { return false }
        return true
    }

    /// The eight bytes from `8 × index` on, the first one lowest; all of them must be there.
    @inline(__always)
    func word(_ index: Int) -> UInt64 {
        load(index &* 8, as: UInt64.self)
    }

    /// The eight bytes that end so many before the end, the first one lowest; all of them must be there.
    @inline(__always)
    func wordEnding(_ bytesBeforeEnd: Int) -> UInt64 {
        load(count &- bytesBeforeEnd &- 8, as: UInt64.self)
    }

    /// The bytes after the last whole word, the first one lowest, filled up with zeros; at least one must be there.
    ///
    /// They are read with loads that overlap what is before them or each other, never byte by byte.
    @inline(__always)
    var lastWord: UInt64 {
        let left = count & 7
        if count >= 8 { return load(count &- 8, as: UInt64.self) >> UInt64(truncatingIfNeeded: 64 &- left &* 8) }
        if left >= 4 {
            let end = UInt64(load(left &- 4, as: UInt32.self)) << UInt64(truncatingIfNeeded: (left &- 4) &* 8)
            return UInt64(load(0, as: UInt32.self)) | end
        }
        // One, two or three bytes: the first, the middle and the last of them.
        let middle = left / 2
        return UInt64(self[0]) | UInt64(self[middle]) << UInt64(truncatingIfNeeded: middle &* 8)
            | UInt64(self[left &- 1]) << UInt64(truncatingIfNeeded: (left &- 1) &* 8)
    }

    /// A number that begins at an offset, lowest byte first; checked.
    @inline(__always)
    private func load<Number: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as type: Number.Type) -> Number {
        precondition(offset >= 0 && offset &+ MemoryLayout<Number>.size <= count, "bytes beyond the end")
        return Number(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: type))
    }
}
