/// The names of organizations and users that the HTTP contract accepts: 1 to 128 bytes of `A-Z a-z 0-9 . _ : @ -`.
package enum OrganizationName {
    /// The longest name, in bytes.
    package static let maximumBytes = 128

    /// Whether a text is a valid name.
    package static func isValid(_ text: String) -> Bool {
        isValid(text.utf8.span)
    }

    /// Whether these UTF-8 bytes are a valid name; O(count), at most ``maximumBytes`` bytes are read.
    package static func isValid(_ bytes: Span<UInt8>) -> Bool {
        guard 1...maximumBytes ~= bytes.count else { return false }
        for index in bytes.indices where !isValid(bytes[index]) { return false }
        return true
    }

    private static func isValid(_ byte: UInt8) -> Bool {
        byte < 0x80 && (byte < 0x40 ? low >> byte : high >> (byte & 0x3f)) & 1 == 1
    }

    /// One bit for each valid byte below 0x40: `-`, `.`, the digits and `:`.
    private static let low = mask(of: "-.0123456789:")
    /// One bit for each valid byte from 0x40 to 0x7f: `@`, the letters and `_`.
    private static let high = mask(of: "@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")

    private static func mask(of bytes: StaticString) -> UInt64 {
        bytes.withUTF8Buffer { $0.reduce(0) { $0 | 1 << UInt64($1 & 0x3f) } }
    }
}
