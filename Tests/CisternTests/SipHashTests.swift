import Testing

@testable import Cistern

@Suite("SipHash")
struct SipHashTests {
    /// The key of the published vectors: bytes 0 to 15.
    private let hash = SipHash(key: (low: 0x0706_0504_0302_0100, high: 0x0f0e_0d0c_0b0a_0908))

    @Test(
        "SipHash-2-4 gives the published values",
        arguments: [
            (0, 0x726f_db47_dd0e_0e31), (1, 0x74f8_39c5_93dc_67fd), (8, 0x93f5_f579_9a93_2462),
            (15, 0xa129_ca61_49be_45e5),
        ] as [(Int, UInt64)])
    func matchesThePublishedVectors(count: Int, expected: UInt64) {
        let input = [UInt8](0..<UInt8(count))
        #expect(hash.hash(input.span, compressionRounds: 2, finalizationRounds: 4) == expected)
    }

    @Test("SipHash-1-3 is the same in every process and release")
    func isStable() {
        let empty: [UInt8] = []
        #expect(hash(empty.span) == 0xabac_0158_050f_c4dc)
        #expect(hash("org-1".utf8.span) != hash("org-2".utf8.span))
    }

    @Test("the hash depends on every byte, for every length")
    func dependsOnEveryByte() {
        for count in 1...48 {
            let base = [UInt8](repeating: 0x61, count: count)
            for index in 0..<count {
                var changed = base
                changed[index] ^= 1
                #expect(hash(base.span) != hash(changed.span), "byte \(index) of \(count)")
            }
        }
    }

    @Test("the fast path for UUID-length names gives the same hash as the general path")
    func fastPath() {
        for count in 0...80 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 11) }
            #expect(hash(bytes.span) == hash.hash(bytes.span, compressionRounds: 1, finalizationRounds: 3), "\(count)")
        }
    }
}
