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
        1...maximumBytes ~= bytes.count && characters.containsAll(bytes)
    }

    /// `A-Z a-z 0-9 . _ : @ -`
    private static let characters = ASCIISet(low: 0x07ff_6000_0000_0000, high: 0x07ff_fffe_87ff_ffff)
}
