internal import NIOCore

/// The id of one request: a random UUID (RFC 9562, version 4).
struct RequestID: Equatable, CustomStringConvertible {
    private let high: UInt64
    private let low: UInt64

    /// Makes the UUID of 128 random bits, of which six are given over to version and variant.
    init(using generator: inout some RandomNumberGenerator) {
        high = generator.next() & 0xffff_ffff_ffff_0fff | 0x4000
        low = generator.next() & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000
    }

    /// As it is written in an answer.
    var description: String {
        var buffer = ByteBuffer()
        buffer.writeRequestID(self)
        return String(buffer: buffer)
    }
}

extension ByteBuffer {
    /// Writes the id in its usual form: 36 characters, in groups of 8, 4, 4, 4 and 12.
    mutating func writeRequestID(_ id: RequestID) {
        // Byte by byte the buffer would be asked for room 36 times, twice an answer.
        writeWithUnsafeMutableBytes(minimumWritableBytes: RequestID.length) { bytes in
            var position = 0
            let groups = id.groups
            for group in groups.indices {
                let (number, digits) = groups[group]
                if position > 0 {
                    bytes[position] = UInt8(ascii: "-")
                    position += 1
                }
                for index in stride(from: digits - 1, through: 0, by: -1) {
                    let digit = UInt8(truncatingIfNeeded: number >> UInt64(4 * index) & 0xf)
                    bytes[position] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") - 10 + digit
                    position += 1
                }
            }
            return position
        }
    }
}

extension RequestID {
    fileprivate static let length = 36

    /// The groups of hexadecimal digits, and how many each has.
    fileprivate var groups: InlineArray<5, (UInt64, Int)> {
        [(high >> 32, 8), (high >> 16 & 0xffff, 4), (high & 0xffff, 4), (low >> 48, 4), (low & 0xffff_ffff_ffff, 12)]
    }
}

/// Random numbers for request ids: xoshiro256**, by Blackman and Vigna, 2018, seeded by the system.
///
/// One system call for each id would cost more than the decision. The ids need to be distinct, not secret.
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
