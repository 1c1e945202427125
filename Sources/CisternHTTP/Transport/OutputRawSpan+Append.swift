internal import NIOCore

/// Writes text and numbers directly into the buffer that is sent.
extension OutputRawSpan {
    @inline(__always)
    mutating func append(text: StaticString) {
        append(bytes: UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    @inline(__always)
    mutating func append(bytes: Span<UInt8>) {
        bytes.withUnsafeBytes { append(bytes: $0) }
    }

    /// Copies bytes, which must fit into the free capacity.
    @inline(__always)
    mutating func append(bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count <= freeCapacity, "the output exceeds the reserved capacity")
        withUnsafeMutableBytes { output, count in
            UnsafeMutableRawBufferPointer(rebasing: output[count...]).copyMemory(from: bytes)
            count += bytes.count
        }
    }

    /// Writes the last `count` digits of a nonnegative number, with leading zeros.
    @inline(__always)
    mutating func append(digits number: Int, count: Int) {
        precondition(count <= freeCapacity, "the output exceeds the reserved capacity")
        withUnsafeMutableBytes { output, written in
            var rest = UInt(bitPattern: number)
            for index in stride(from: written + count - 1, through: written, by: -1) {
                output[index] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            }
            written += count
        }
    }

    /// Writes a nonnegative number in decimal, without leading zeros.
    @inline(__always)
    mutating func append(decimal number: Int) {
        append(digits: number, count: number.decimalDigits)
    }
}

extension ByteBuffer {
    /// Writes a nonnegative number in decimal, without leading zeros.
    mutating func writeDecimal(_ number: Int) {
        writeWithOutputRawSpan(minimumWritableBytes: number.decimalDigits) { $0.append(decimal: number) }
    }
}

extension Int {
    /// The number of decimal digits in a nonnegative number.
    var decimalDigits: Int {
        var (count, rest) = (1, self / 10)
        while rest > 0 { (count, rest) = (count &+ 1, rest / 10) }
        return count
    }
}
