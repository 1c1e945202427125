import CisternTesting
import Testing

@testable import Cistern

@Suite("The hash of the bucket tables")
struct KeyHashTests {
    private let hash = KeyHash(seed: 7)

    @Test("the hash depends on every bit of a name of any length")
    func dependsOnEveryBit() {
        for count in 1...200 {
            let base = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 11) }
            var seen: Set<UInt64> = [hash(base.span)]
            for bit in 0..<count * 8 {
                var changed = base
                changed[bit / 8] ^= 1 << UInt8(bit % 8)
                seen.insert(hash(changed.span))
            }
            #expect(seen.count == count * 8 + 1, "\(count) bytes")
        }
    }

    @Test("names of repeated zero bytes hash differently for every length")
    func dependsOnTheLength() {
        let hashes = (0...200).map { hash([UInt8](repeating: 0, count: $0).span) }
        #expect(Set(hashes).count == 201)
    }

    @Test("each seed gives a different hash")
    func dependsOnTheSeed() {
        for count in [0, 1, 8, 16, 17, 32, 33, 36, 48, 49, 128] {
            let name = [UInt8](repeating: 0x61, count: count)
            let hashes = (0..<100).map { KeyHash(seed: $0)(name.span) }
            #expect(Set(hashes).count == 100, "\(count) bytes")
        }
    }

    /// Names as an attacker or a counter would generate them: identical except for a few digits.
    @Test(
        "names that differ in a few digits spread evenly over shards and slots",
        arguments: [4, 12, 24, 36, 44, 90])
    func spreads(length: Int) {
        let bins = 256
        let names = 64 * bins
        var shards = [Int](repeating: 0, count: bins)
        var slots = [Int](repeating: 0, count: bins)
        for number in 0..<names {
            let digits = Array(String(number, radix: 36).utf8)
            let name = [UInt8](repeating: 0x30, count: length - digits.count) + digits
            let value = hash(name.span)
            // The bits that `LockStripedTable` and `BucketTable` use.
            shards[Int(value >> 48 & 255)] += 1
            slots[Int(value & 255)] += 1
        }
        // Chi-squared bounds for 255 degrees of freedom: chance exceeds them once in 100,000 runs.
        for counts in [shards, slots] {
            let square = counts.reduce(0.0) { $0 + Double(($1 - 64) * ($1 - 64)) / 64 }
            #expect((160.0...365).contains(square), "\(square)")
        }
    }
}
