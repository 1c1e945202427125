/// SipHash: a keyed hash that callers cannot steer without knowing its key.
///
/// Bucket keys come from outside, so an unkeyed hash would let anyone aim all of them at one shard. One compression and
/// three finalization rounds suffice for a hash table. The published variant with two and four rounds is supported for
/// its test vectors. Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012.
package struct SipHash: Sendable, BitwiseCopyable {
    private let key: (low: UInt64, high: UInt64)

    package init(key: (low: UInt64, high: UInt64)) {
        self.key = key
    }

    /// The hash for tables: SipHash-1-3 of the bytes.
    @inline(__always)
    package func callAsFunction(_ bytes: Span<UInt8>) -> UInt64 {
        // A UUID has 36 bytes. Unrolled, so that the compiler overlaps the loads of a word with the rounds of another.
        guard 33...39 ~= bytes.count else { return hash(bytes, compressionRounds: 1, finalizationRounds: 3) }
        var state = State(key: key)
        state.absorb(bytes.word(0), rounds: 1)
        state.absorb(bytes.word(1), rounds: 1)
        state.absorb(bytes.word(2), rounds: 1)
        state.absorb(bytes.word(3), rounds: 1)
        state.absorb(bytes.trailingWord | UInt64(truncatingIfNeeded: bytes.count) << 56, rounds: 1)
        return state.finish(rounds: 3)
    }

    /// SipHash-c-d of the bytes.
    package func hash(_ bytes: Span<UInt8>, compressionRounds: Int, finalizationRounds: Int) -> UInt64 {
        var state = State(key: key)
        let count = bytes.count
        var index = 0
        while index < count / 8 {
            state.absorb(bytes.word(index), rounds: compressionRounds)
            index &+= 1
        }
        // The last word: the remaining bytes, and the byte count in the highest byte.
        let last = (count & 7 == 0 ? 0 : bytes.trailingWord) | UInt64(truncatingIfNeeded: count) << 56
        state.absorb(last, rounds: compressionRounds)
        return state.finish(rounds: finalizationRounds)
    }

    private struct State {
        var v0: UInt64
        var v1: UInt64
        var v2: UInt64
        var v3: UInt64

        @inline(__always)
        init(key: (low: UInt64, high: UInt64)) {
            v0 = 0x736f_6d65_7073_6575 ^ key.low
            v1 = 0x646f_7261_6e64_6f6d ^ key.high
            v2 = 0x6c79_6765_6e65_7261 ^ key.low
            v3 = 0x7465_6462_7974_6573 ^ key.high
        }

        @inline(__always)
        mutating func absorb(_ word: UInt64, rounds: Int) {
            v3 ^= word
            for _ in 0..<rounds { round() }
            v0 ^= word
        }

        @inline(__always)
        mutating func finish(rounds: Int) -> UInt64 {
            v2 ^= 0xff
            for _ in 0..<rounds { round() }
            return v0 ^ v1 ^ v2 ^ v3
        }

        @inline(__always)
        mutating func round() {
            v0 &+= v1
            v1 = v1.rotated(by: 13) ^ v0
            v0 = v0.rotated(by: 32)
            v2 &+= v3
            v3 = v3.rotated(by: 16) ^ v2
            v0 &+= v3
            v3 = v3.rotated(by: 21) ^ v0
            v2 &+= v1
            v1 = v1.rotated(by: 17) ^ v2
            v2 = v2.rotated(by: 32)
        }
    }
}

extension UInt64 {
    @inline(__always)
    fileprivate func rotated(by bits: UInt64) -> UInt64 {
        self << bits | self >> (64 &- bits)
    }
}
