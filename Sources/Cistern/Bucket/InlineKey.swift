/// A name of up to 40 bytes, kept as words so that comparing it takes one load and one compare for eight bytes.
///
/// A UUID has 36 bytes. Of a longer name only the length is kept; its bytes are somebody else's to keep.
struct InlineKey: BitwiseCopyable {
    static let capacity = 40

    private var words = InlineArray<5, UInt64>(repeating: 0)
    private let storedCount: UInt32

    init(_ key: Span<UInt8>) {
        storedCount = UInt32(key.count)
        guard key.count <= Self.capacity else { return }
        for index in 0..<(key.count + 7) / 8 { words[index] = key.word(index) }
    }

    /// The length of the name, also of one that is too long to stand here.
    var count: Int { Int(storedCount) }

    /// The bytes of a name that stands here.
    var bytes: [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: words[$0 / 8] >> UInt64($0 % 8 * 8)) }
    }

    /// Whether these are the bytes of `key`, which must have the same length and fit.
    @inline(__always)
    func matches(_ key: Span<UInt8>) -> Bool {
        let wordCount = (key.count &+ 7) / 8
        var index = 0
        while index < wordCount {
            if words[index] != key.word(index) { return false }
            index &+= 1
        }
        return true
    }
}

extension Span<UInt8> {
    /// Eight bytes from `8 × index` on, the first one lowest; the last word is filled up with zeros.
    @inline(__always)
    func word(_ index: Int) -> UInt64 {
        let start = index &* 8
        if start &+ 8 <= count {
            return UInt64(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: start, as: UInt64.self))
        }
        var word: UInt64 = 0
        var offset = start
        while offset < count {
            word |= UInt64(self[offset]) << UInt64((offset &- start) &* 8)
            offset &+= 1
        }
        return word
    }
}
