/// What may be the name of an organisation or a user: 1 to 128 bytes of `A-Z a-z 0-9 . _ : @ -`.
package enum OrganizationName {
    /// The longest name, in bytes.
    package static let maximumBytes = 128

    /// Whether a text can be a name.
    package static func isValid(_ text: String) -> Bool {
        isValid(text.utf8.span)
    }

    /// Whether these bytes can be a name.
    package static func isValid(_ bytes: Span<UInt8>) -> Bool {
        guard 1...maximumBytes ~= bytes.count else { return false }
        for index in bytes.indices where !isValid(bytes[index]) { return false }
        return true
    }

    /// For each ASCII character one bit, set where a name may contain it.
    private static func isValid(_ byte: UInt8) -> Bool {
        let (low, high): (UInt64, UInt64) = (0x07ff_6000_0000_0000, 0x07ff_fffe_87ff_ffff)
        return byte < 0x80 && (byte < 0x40 ? low : high) >> UInt64(byte & 0x3f) & 1 == 1
    }
}
