/// A set of ASCII characters as a 128-bit bitmap; a lookup is a shift and a mask.
struct ASCIISet {
    private let low: UInt64
    private let high: UInt64

    /// Whether a byte belongs to the set; false for a byte that is not ASCII.
    @inline(__always)
    func contains(_ byte: UInt8) -> Bool {
        byte < 0x80 && (byte < 0x40 ? low : high) >> UInt64(byte & 0x3f) & 1 == 1
    }

    /// Whether all of these bytes belong to the set.
    @inline(__always)
    func containsAll(_ bytes: Span<UInt8>) -> Bool {
        for index in bytes.indices where !contains(bytes[index]) { return false }
        return true
    }
}

/// The predefined sets, as computed properties so that the compiler inlines them as constants.
extension ASCIISet {
    /// The characters of a method or a header name (`token` in RFC 9110, section 5.6.2).
    static var token: ASCIISet { ASCIISet(low: 0x03ff_6cfa_0000_0000, high: 0x57ff_ffff_c7ff_fffe) }
    /// The visible characters, 0x21 to 0x7e.
    static var visible: ASCIISet { ASCIISet(low: 0xffff_fffe_0000_0000, high: 0x7fff_ffff_ffff_ffff) }
    /// The characters of `Host`: those of a host name or address and of a port (RFC 3986, section 3.2.2).
    static var host: ASCIISet { ASCIISet(low: 0x2fff_6ff2_0000_0000, high: 0x47ff_fffe_afff_fffe) }
    /// The characters of a host and port in a request target: letters, digits and `. - _ : [ ]`.
    static var authority: ASCIISet { ASCIISet(low: 0x07ff_6000_0000_0000, high: 0x07ff_fffe_afff_fffe) }
    /// The ASCII characters that need no escape in a quoted string (RFC 9110, section 5.6.4).
    static var quotedText: ASCIISet { ASCIISet(low: 0xffff_fffb_0000_0000, high: 0x7fff_ffff_efff_ffff) }
}
