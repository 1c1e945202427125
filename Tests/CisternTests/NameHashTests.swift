import CisternTesting
import Testing

@testable import Cistern

@Suite("The hash of the tables")
struct NameHashTests {
    private let hash = NameHash(seed: 7)

    @Test("depends on every bit of a name, whatever its length")
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

    @Test("tells names apart that are one another's beginning or end, or repeat themselves")
    func dependsOnTheLength() {
        let hashes = (0...200).map { hash([UInt8](repeating: 0, count: $0).span) }
        #expect(Set(hashes).count == 201)
    }

    @Test("is another one for another seed")
    func dependsOnTheSeed() {
        for count in [0, 1, 8, 16, 17, 32, 33, 36, 48, 49, 128] {
            let name = [UInt8](repeating: 0x61, count: count)
            let hashes = (0..<100).map { NameHash(seed: $0)(name.span) }
            #expect(Set(hashes).count == 100, "\(count) bytes")
        }
    }

    /// Names as an attacker or a counter would make them: all alike but for a few digits.
    @Test(
        "spreads names that differ in a few digits evenly over shards and over slots",
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
            // As `LockStripedTable` and `BucketTable` take them.
            shards[Int(value >> 48 & 255)] += 1
            slots[Int(value & 255)] += 1
        }
        // Of 255 degrees of freedom: what chance exceeds once in a hundred thousand times.
        for counts in [shards, slots] {
            let square = counts.reduce(0.0) { $0 + Double(($1 - 64) * ($1 - 64)) / 64 }
            #expect((160.0...365).contains(square), "\(square)")
        }
    }
}
