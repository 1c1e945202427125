internal import CisternSupport

/// The names of one thread's requests, contiguous in memory and used again and again.
///
/// In a server, a request's name was just read, so it is in the processor's cache; the limiter's table may not be.
/// Names scattered over the heap would add cache misses that belong to the benchmark.
struct NameCycle: Sendable {
    /// The length of a name in bytes, that of a UUID.
    static let nameLength = 36
    /// The usual number of names: as in the benchmarks compared with this one, and too many to train a predictor.
    static let usualTurns = 1 << 20

    let bytes: [UInt8]

    /// - Parameters:
    ///   - names: the names of all organizations, from ``names(_:)``.
    ///   - skew: the Zipf exponent; 0 for all alike.
    init(names: [UInt8], skew: Double, turns: Int, seed: UInt64) {
        precondition(turns > 0, "a cycle needs at least one turn")
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

    /// Returns distinct random UUIDs, one after the other; they are the same on every call.
    static func names(_ count: Int) -> [UInt8] {
        var random = SeededRandom(seed: 42)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count * nameLength)
        for _ in 0..<count {
            // 120 random bits: among a million names, two are practically never equal.
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
