internal import NIOCore

/// The ID of one request: a random UUID (version 4, RFC 9562).
struct RequestID: Equatable, CustomStringConvertible {
    fileprivate let high: UInt64
    fileprivate let low: UInt64

    /// The number of characters in the ID's text form.
    static let length = 36

    /// Creates a UUID from 128 random bits, and overwrites six of them with version and variant.
    init(using generator: inout some RandomNumberGenerator) {
        high = generator.next() & 0xffff_ffff_ffff_0fff | 0x4000
        low = generator.next() & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000
    }

    /// The text form, as in a response.
    var description: String {
        var buffer = ByteBuffer()
        buffer.writeRequestID(self)
        return String(buffer: buffer)
    }
}

extension OutputRawSpan {
    /// Writes the ID's text form: 36 characters, in groups of 8, 4, 4, 4 and 12.
    mutating func append(_ id: RequestID) {
        let (first, second) = id.high.hexadecimalDigits
        let (third, fourth) = id.low.hexadecimalDigits
        append(first, as: UInt64.self)
        append(UInt8(ascii: "-"))
        append(UInt32(truncatingIfNeeded: second), as: UInt32.self)
        append(UInt8(ascii: "-"))
        append(UInt32(truncatingIfNeeded: second >> 32), as: UInt32.self)
        append(UInt8(ascii: "-"))
        append(UInt32(truncatingIfNeeded: third), as: UInt32.self)
        append(UInt8(ascii: "-"))
        append(UInt32(truncatingIfNeeded: third >> 32), as: UInt32.self)
        append(fourth, as: UInt64.self)
    }
}

extension ByteBuffer {
    /// Writes the ID's text form.
    mutating func writeRequestID(_ id: RequestID) {
        writeWithOutputRawSpan(minimumWritableBytes: RequestID.length) { $0.append(id) }
    }
}

extension UInt64 {
    /// The sixteen hexadecimal digits in ASCII, eight per word, with the first digit at the lowest address.
    fileprivate var hexadecimalDigits: (UInt64, UInt64) {
        (Self.digits(of: UInt32(truncatingIfNeeded: self >> 32)), Self.digits(of: UInt32(truncatingIfNeeded: self)))
    }

    /// Converts eight digits at once: spreads four bits to each byte, then maps the values 0 to 15 to ASCII digits.
    private static func digits(of word: UInt32) -> UInt64 {
        var digits = UInt64(word.byteSwapped)
        digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff
        digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff
        digits = (digits >> 4 | digits << 8) & 0x0f0f_0f0f_0f0f_0f0f
        // 1 in each byte that is 10 or more: adding 6 carries into its fifth bit.
        let letters = (digits &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
        return (digits &+ 0x3030_3030_3030_3030 &+ letters &* 39).littleEndian
    }
}

/// The random number generator for request IDs: xoshiro256** (Blackman and Vigna, 2018), seeded by the system.
///
/// A system call for each ID would cost more than the decision. The IDs must be distinct, not secret.
struct RequestIDGenerator: RandomNumberGenerator {
    private var state: (UInt64, UInt64, UInt64, UInt64)

    init(seededBy system: inout some RandomNumberGenerator) {
        state = (system.next(), system.next(), system.next(), system.next() | 1)
    }

    mutating func next() -> UInt64 {
        let scaled = state.1 &* 5
        let result = (scaled << 7 | scaled >> 57) &* 9
        let shifted = state.1 << 17
        state.2 ^= state.0
        state.3 ^= state.1
        state.1 ^= state.2
        state.0 ^= state.3
        state.2 ^= shifted
        state.3 = state.3 << 45 | state.3 >> 19
        return result
    }
}
