/// The hash of the tables: keyed, so that callers cannot aim their keys at one shard, and made of multiplications.
///
/// Every 16 bytes of the key form two words. Each word is added to its own secret word, and the two sums are
/// multiplied. The products are summed in 128 bits. This is NH: for any two keys, the sums differ by a given number for
/// at most one secret in 2^64 (proven). So the length can be added to the sum, and so can the four extra bytes of a key
/// like a UUID. A last multiplication folds the sum into 64 bits that all depend on the whole sum.
///
/// SipHash takes three times as many instructions, in one dependency chain. Tables do not need it, because they never
/// expose their hashes. Keys longer than ``longestBytes`` are hashed by SipHash first.
///
/// Sources: Black, Halevi, Krawczyk, Krovetz and Rogaway, "UMAC: fast and secure message authentication", 1999;
/// Krovetz, "Message authentication on 64-bit architectures", 2006, for words of 64 bits.
struct KeyHash: Sendable, BitwiseCopyable {
    private static let longestBytes = 48

    // Separate words instead of an array, which the compiler would copy for each key.
    private let first: (UInt64, UInt64)
    private let second: (UInt64, UInt64)
    private let last: (UInt64, UInt64)
    private let folding: (UInt64, UInt64)
    private let long: SipHash

    /// Creates a hash that cannot be predicted without the seed.
    init(seed: UInt64) {
        let long = SipHash(key: (low: seed, high: 0x9e37_79b9_7f4a_7c15))
        self.long = long
        func word(_ number: UInt8) -> UInt64 {
            let bytes = [number]
            return long.hash(bytes.span, compressionRounds: 2, finalizationRounds: 4)
        }
        first = (word(0), word(1))
        second = (word(2), word(3))
        last = (word(4), word(5))
        folding = (word(6), word(7))
    }

    @inline(__always)
    func callAsFunction(_ name: Span<UInt8>) -> UInt64 {
        // About as long as a UUID: straight-line code, so that both multiplications overlap.
        guard InlineKey.commonLengths ~= name.count else {
            return Self.hashUncommonLength(name, first: first, second: second, last: last, folding: folding, long: long)
        }
        var sum = Sum(beginningWith: (name.wordEnding(0) >> 32) << 6 | UInt64(truncatingIfNeeded: name.count))
        sum.add(name.word(0) &+ first.0, name.word(1) &+ first.1)
        sum.add(name.word(2) &+ second.0, name.word(3) &+ second.1)
        return Self.fold(sum, by: folding)
    }

    /// The hash of a key that is not about as long as a UUID.
    ///
    /// Without `self`: passing it would put the words into memory, and the fast path would have to load them.
    @inline(never)
    private static func hashUncommonLength(
        _ name: Span<UInt8>, first: (UInt64, UInt64), second: (UInt64, UInt64), last: (UInt64, UInt64),
        folding: (UInt64, UInt64), long: SipHash
    ) -> UInt64 {
        var sum = Sum(beginningWith: UInt64(truncatingIfNeeded: name.count))
        // From 16 bytes on, the tail is read as the last 16 bytes, which may overlap words already read.
        let (left, right): (UInt64, UInt64) =
            switch name.count {
            case 49...: (long(name), 0)
            case 16...: (name.wordEnding(8), name.wordEnding(0))
            case 8...: (name.word(0), name.wordEnding(0))
            case 1...: (name.trailingWord, 0)
            default: (0, 0)
            }
        if 17...longestBytes ~= name.count { sum.add(name.word(0) &+ first.0, name.word(1) &+ first.1) }
        if 33...longestBytes ~= name.count { sum.add(name.word(2) &+ second.0, name.word(3) &+ second.1) }
        sum.add(left &+ last.0, right &+ last.1)
        return fold(sum, by: folding)
    }

    @inline(__always)
    private static func fold(_ sum: Sum, by folding: (UInt64, UInt64)) -> UInt64 {
        let product = (sum.low ^ folding.0).multipliedFullWidth(by: sum.high ^ folding.1)
        return product.high ^ product.low
    }

    /// A sum of products modulo 2^128, with an initial value in its upper half.
    private struct Sum {
        private(set) var high: UInt64
        private(set) var low: UInt64 = 0

        @inline(__always)
        init(beginningWith high: UInt64) { self.high = high }

        @inline(__always)
        mutating func add(_ left: UInt64, _ right: UInt64) {
            let product = left.multipliedFullWidth(by: right)
            let (sum, carries) = low.addingReportingOverflow(product.low)
            low = sum
            high = high &+ product.high &+ (carries ? 1 : 0)
        }
    }
}
