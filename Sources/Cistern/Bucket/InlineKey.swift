/// A name of up to 36 bytes, as a UUID has, kept as words so that comparing it takes one load and one compare for eight bytes.
///
/// Of a longer name nothing is kept here; its bytes are somebody else's to keep.
struct InlineKey: BitwiseCopyable {
    static let capacity = 36
    private static let wordCount = 4

    /// The first 32 bytes; what is beyond the name is 0.
    private var words = InlineArray<4, UInt64>(repeating: 0)
    /// The last four.
    private var tail: UInt32 = 0

    init(_ key: Span<UInt8>) {
        guard key.count <= Self.capacity else { return }
        for index in 0..<min(Self.wordCount, key.count / 8) { words[index] = key.word(index) }
        guard key.count % 8 > 0 else { return }
        if key.count / 8 < Self.wordCount {
            words[key.count / 8] = key.lastWord
        } else {
            tail = UInt32(truncatingIfNeeded: key.lastWord)
        }
    }

    /// The bytes of a name of this length that stands here.
    func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { index in
            let word = index / 8 < Self.wordCount ? words[index / 8] : UInt64(tail)
            return UInt8(truncatingIfNeeded: word >> UInt64(index % 8 * 8))
        }
    }

    /// Whether these are the bytes of `key`, which must have the same length and fit.
    @inline(__always)
    func matches(_ key: Span<UInt8>) -> Bool {
        let whole = key.count / 8
        if whole == Self.wordCount {
            let start = words[0] ^ key.word(0) | words[1] ^ key.word(1) | words[2] ^ key.word(2) | words[3] ^ key.word(3)
            return start == 0 && (key.count == 32 || UInt64(tail) == key.lastWord)
        }
        var index = 0
        while index < whole {
            if words[index] != key.word(index) { return false }
            index &+= 1
        }
        if key.count % 8 == 0 { return true }
        return words[whole] == key.lastWord
    }
}

extension Span<UInt8> {
    /// The eight bytes from `8 × index` on, the first one lowest; all of them must be there.
    @inline(__always)
    func word(_ index: Int) -> UInt64 {
        load(index &* 8, as: UInt64.self)
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
