internal import CisternSupport
internal import CisternTesting

/// The names of one thread's turns, one after the other in memory, to be gone through again and again.
///
/// In a server the name of a request is in the processor's cache, because it has just been read; what may not be is the
/// limiter's table. Names all over the heap would measure where the benchmark keeps them.
struct NameCycle: Sendable {
    /// As a UUID has.
    static let nameLength = 36
    /// How many turns: as many as in the programs this is compared with, and more than a processor learns.
    static let usualTurns = 1 << 20

    let bytes: [UInt8]

    /// - Parameters:
    ///   - names: of all organizations, as ``names(_:)`` makes them.
    ///   - skew: the exponent of Zipf's law; 0 for all alike.
    init(names: [UInt8], skew: Double, turns: Int, seed: UInt64) {
        precondition(turns > 0, "a cycle has a turn at least")
        let sampler = ZipfSampler(count: names.count / Self.nameLength, skew: skew)
        var random = SeededRandom(seed: seed)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(turns * Self.nameLength)
        for _ in 0..<turns {
            let start = sampler.draw(using: &random) * Self.nameLength
            bytes.append(contentsOf: names[start..<start + Self.nameLength])
        }
        self.bytes = bytes
    }

    /// So many names one after the other: random UUIDs, the same ones each time, all of them distinct.
    static func names(_ count: Int) -> [UInt8] {
        var random = SeededRandom(seed: 42)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count * nameLength)
        for _ in 0..<count {
            // 122 random bits: that two of a million are the same does not happen.
            let (high, low) = (random.next(), random.next())
            append(high >> 32, digits: 8, to: &bytes)
            append(high >> 16 & 0xffff, digits: 4, after: "-", to: &bytes)
            append(high & 0xfff, digits: 3, after: "-4", to: &bytes)
            append(low >> 48 & 0xfff, digits: 3, after: "-8", to: &bytes)
            append(low & 0xffff_ffff_ffff, digits: 12, after: "-", to: &bytes)
        }
        return bytes
    }

    private static func append(_ number: UInt64, digits: Int, after text: StaticString = "", to bytes: inout [UInt8]) {
        bytes.append(contentsOf: "\(text)".utf8)
        for place in (0..<digits).reversed() {
            let digit = UInt8(number >> UInt64(place * 4) & 0xf)
            bytes.append(digit < 10 ? 0x30 + digit : 0x57 + digit)
        }
    }
}
