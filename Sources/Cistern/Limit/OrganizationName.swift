/// What may be the name of an organization or a user: 1 to 128 bytes of `A-Z a-z 0-9 . _ : @ -`.
package enum OrganizationName {
    /// The longest name, in bytes.
    package static let maximumBytes = 128

    /// Whether a text can be a name.
    package static func isValid(_ text: String) -> Bool {
        isValid(text.utf8.span)
    }

    /// Whether these bytes can be a name.
    package static func isValid(_ bytes: Span<UInt8>) -> Bool {
        let count = bytes.count
        guard 1...maximumBytes ~= count else { return false }
        // What is missing of the last word is filled up with a letter.
        guard count >= 8 else { return isValid(bytes.lastEstimate | everyByte(0x61) << UInt64(count * 8)) }
        var index = 0
        while index < count / 8 {
            guard isValid(bytes.word(index)) else { return false }
            index &+= 1
        }
        return isValid(bytes.wordEnding(0))
    }

    /// Whether each of eight bytes may stand in a name, all of them looked at together.
    @inline(__always)
    private static func isValid(_ word: UInt64) -> Bool {
        let isAllowed =
            isWithin(0x2d, 0x2e, word) | isWithin(0x30, 0x3a, word) | isWithin(0x40, 0x5a, word)
            | isWithin(0x5f, 0x5f, word) | isWithin(0x61, 0x7a, word)
        return (isAllowed & ~word & everyByte(0x80)) == everyByte(0x80)
    }

    /// Sets the highest bit of each byte of a word that is between two others, both below 0x80; of bytes from 0x80 on it
    /// tells nothing, and what they carry over may be told wrongly too.
    @inline(__always)
    private static func isWithin(_ low: UInt8, _ high: UInt8, _ word: UInt64) -> UInt64 {
        (word &+ everyByte(0x80 - low)) & ~(word &+ everyByte(0x7f - high))
    }

    @inline(__always)
    private static func everyByte(_ byte: UInt8) -> UInt64 { UInt64(byte) &* 0x0101_0101_0101_0101 }
}
