/// A buffer of serialized Redis commands, ready to be sent.
///
/// A lease request is mostly numbers. They are written directly into the buffer, without a string or array for each.
struct RESPCommandBuffer {
    /// The serialized commands.
    private(set) var bytes: [UInt8] = []

    /// Appends a command with `words` arguments, including its name; `write` must append each of them.
    ///
    /// - Parameter payload: an upper bound for the total bytes of the arguments; use ``numberBytes`` for a number.
    mutating func append(words: Int, payload: Int, write: (inout OutputSpan<UInt8>) -> Void) {
        bytes.append(addingCapacity: payload + (words + 1) * Self.framingBytes) { output in
            output.appendHeader(UInt8(ascii: "*"), words)
            write(&output)
        }
    }

    /// Appends a command from its arguments.
    mutating func append(command words: [[UInt8]]) {
        append(words: words.count, payload: words.reduce(0) { $0 + $1.count }) { output in
            for word in words { output.appendArgument(word) }
        }
    }

    /// Removes the commands after sending; keeps the capacity unless it exceeds 1 MiB.
    mutating func removeAll() {
        bytes.removeAll(keepingCapacity: bytes.capacity <= 1 << 20)
    }

    /// The maximum length of a decimal number, in bytes.
    static let numberBytes = 20
    /// The length of a double, in bytes.
    static let doubleBytes = 8
    /// The maximum framing of an argument, in bytes: its type, its length and two line ends.
    private static let framingBytes = 1 + numberBytes + 4
}

extension OutputSpan<UInt8> {
    /// Appends the next argument.
    mutating func appendArgument(_ word: [UInt8]) {
        appendHeader(UInt8(ascii: "$"), word.count)
        append(bytes: word)
        appendLineEnd()
    }

    /// Appends the next argument as the concatenation of three parts.
    mutating func appendArgument(_ first: [UInt8], _ second: [UInt8], _ third: [UInt8]) {
        appendHeader(UInt8(ascii: "$"), first.count + second.count + third.count)
        append(bytes: first)
        append(bytes: second)
        append(bytes: third)
        appendLineEnd()
    }

    /// Appends a string as the next argument.
    mutating func appendArgument(_ word: String) {
        appendHeader(UInt8(ascii: "$"), word.utf8.count)
        for byte in word.utf8 { append(byte) }
        appendLineEnd()
    }

    /// Appends a decimal number as the next argument.
    @inline(__always)
    mutating func appendArgument(_ number: Int64) {
        let digits = Self.digits(of: number.magnitude)
        appendHeader(UInt8(ascii: "$"), digits + (number < 0 ? 1 : 0))
        if number < 0 { append(UInt8(ascii: "-")) }
        appendDecimal(number.magnitude, digits: digits)
        appendLineEnd()
    }

    /// Appends one argument that packs several numbers, each as a little-endian double of eight bytes.
    ///
    /// - Parameters:
    ///   - count: the number of doubles.
    ///   - write: must call ``appendDouble(_:)`` once for each number.
    @inline(__always)
    mutating func appendArgument(doubles count: Int, write: (inout OutputSpan<UInt8>) -> Void) {
        appendHeader(UInt8(ascii: "$"), count * RESPCommandBuffer.doubleBytes)
        write(&self)
        appendLineEnd()
    }

    /// Appends the next number of a packed argument; exact below 2^53.
    @inline(__always)
    mutating func appendDouble(_ number: Int64) {
        let bits = Double(number).bitPattern
        for byte in 0..<UInt64(RESPCommandBuffer.doubleBytes) { append(UInt8(truncatingIfNeeded: bits >> (8 * byte))) }
    }

    fileprivate mutating func appendHeader(_ type: UInt8, _ count: Int) {
        append(type)
        let number = UInt64(count)
        appendDecimal(number, digits: Self.digits(of: number))
        appendLineEnd()
    }

    private mutating func append(bytes: [UInt8]) {
        for byte in bytes { append(byte) }
    }

    private mutating func appendLineEnd() {
        append(UInt8(ascii: "\r"))
        append(UInt8(ascii: "\n"))
    }

    private static func digits(of number: UInt64) -> Int {
        var (count, bound) = (1, UInt64(10))
        while count < RESPCommandBuffer.numberBytes, number >= bound {
            count += 1
            bound = bound &* 10
        }
        return count
    }

    private mutating func appendDecimal(_ number: UInt64, digits: Int) {
        guard digits > 1 else { return append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number)) }
        append(repeating: UInt8(ascii: "0"), count: digits)
        withUnsafeMutableBufferPointer { buffer, count in
            var (rest, position) = (number, count)
            while rest > 0 {
                position -= 1
                buffer[position] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            }
        }
    }
}
