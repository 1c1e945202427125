/// Commands of the Redis protocol as bytes, one behind the other, ready to be sent.
///
/// A lease request has over twenty words, most of them numbers: they are written where they will be sent from, without
/// a string or an array for each.
struct RESPCommands {
    /// What is to be sent.
    private(set) var bytes: [UInt8] = []

    /// Begins a command of so many words, its name counted; they must follow.
    mutating func begin(words: Int) {
        appendHeader(UInt8(ascii: "*"), words)
    }

    /// Writes the next word.
    mutating func append(_ word: [UInt8]) {
        appendHeader(UInt8(ascii: "$"), word.count)
        bytes.append(contentsOf: word)
        appendLineEnd()
    }

    /// Writes three pieces as the next word.
    mutating func append(_ first: [UInt8], _ second: [UInt8], _ third: [UInt8]) {
        appendHeader(UInt8(ascii: "$"), first.count + second.count + third.count)
        bytes.append(contentsOf: first)
        bytes.append(contentsOf: second)
        bytes.append(contentsOf: third)
        appendLineEnd()
    }

    /// Writes a text as the next word.
    mutating func append(_ word: String) {
        appendHeader(UInt8(ascii: "$"), word.utf8.count)
        bytes.append(contentsOf: word.utf8)
        appendLineEnd()
    }

    /// Writes a number as the next word.
    mutating func append(_ number: Int64) {
        let digits = Decimal(number.magnitude)
        appendHeader(UInt8(ascii: "$"), digits.count + (number < 0 ? 1 : 0))
        if number < 0 { bytes.append(UInt8(ascii: "-")) }
        append(digits)
        appendLineEnd()
    }

    /// Writes a whole command.
    mutating func append(command words: [[UInt8]]) {
        begin(words: words.count)
        for word in words { append(word) }
    }

    /// Forgets what has been sent, and keeps the room.
    mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
    }

    private mutating func appendHeader(_ type: UInt8, _ count: Int) {
        bytes.append(type)
        append(Decimal(count.magnitude))
        appendLineEnd()
    }

    private mutating func append(_ digits: Decimal) {
        for index in digits.first..<Decimal.room { bytes.append(digits.text[index]) }
    }

    private mutating func appendLineEnd() {
        bytes.append(UInt8(ascii: "\r"))
        bytes.append(UInt8(ascii: "\n"))
    }

    /// A number's decimal digits, without memory of their own.
    private struct Decimal {
        /// As many as the largest number of 64 bits has.
        static let room = 20

        private(set) var text = InlineArray<20, UInt8>(repeating: UInt8(ascii: "0"))
        /// Where the digits begin; they go on to the end.
        private(set) var first = Decimal.room - 1

        var count: Int { Decimal.room - first }

        init(_ number: some FixedWidthInteger & UnsignedInteger) {
            var rest = number
            // Two digits a division.
            while rest >= 100 {
                let pair = rest % 100
                rest /= 100
                text[first] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: pair % 10)
                text[first - 1] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: pair / 10)
                first -= 2
            }
            if rest >= 10 {
                text[first] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
                first -= 1
            }
            text[first] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest)
        }
    }
}
