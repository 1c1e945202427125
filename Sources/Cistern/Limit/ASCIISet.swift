/// A set of ASCII characters, as two words: whether a byte belongs to it is a shift and a mask.
package struct ASCIISet: Sendable, BitwiseCopyable {
    private let low: UInt64
    private let high: UInt64

    /// Creates the set of the bytes whose bits are set: those up to 63 in `low`, the rest in `high`.
    package init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }

    /// Whether a byte belongs to the set; one that is not ASCII does not.
    @inline(__always)
    package func contains(_ byte: UInt8) -> Bool {
        byte < 0x80 && (byte < 0x40 ? low : high) >> UInt64(byte & 0x3f) & 1 == 1
    }

    /// Whether all of these bytes belong to the set.
    @inline(__always)
    package func containsAll(_ bytes: Span<UInt8>) -> Bool {
        for index in bytes.indices where !contains(bytes[index]) { return false }
        return true
    }
}
