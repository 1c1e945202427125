/// What may be the name of an organisation or a user: 1 to 128 bytes of `A-Z a-z 0-9 . _ : @ -`.
package enum OrganizationName {
    /// The longest name, in bytes.
    package static let maximumBytes = 128

    /// Whether a text can be a name.
    package static func isValid(_ text: String) -> Bool {
        1...maximumBytes ~= text.utf8.count && text.utf8.allSatisfy { bytes[Int($0)] }
    }

    /// For each byte, whether a name may contain it.
    private static let bytes: [Bool] = (UInt8.min...UInt8.max).map { byte in
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: ":"),
            UInt8(ascii: "@"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}
