/// A set of ASCII characters, as two words: whether a byte belongs to it is a shift and a mask.
struct ASCIISet {
    private let low: UInt64
    private let high: UInt64

    /// Whether a byte belongs to the set; one that is not ASCII does not.
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

/// The sets, as computed properties so that they are constants where they are used.
extension ASCIISet {
    /// What a method or the name of a header field is made of (RFC 9110, 5.6.2).
    static var token: ASCIISet { ASCIISet(low: 0x03ff_6cfa_0000_0000, high: 0x57ff_ffff_c7ff_fffe) }
    /// Every character that can be seen.
    static var visible: ASCIISet { ASCIISet(low: 0xffff_fffe_0000_0000, high: 0x7fff_ffff_ffff_ffff) }
    /// What may stand in `Host`: whatever a host, as a name or an address, and a port can have (RFC 3986, 3.2.2).
    static var host: ASCIISet { ASCIISet(low: 0x2fff_6ff2_0000_0000, high: 0x47ff_fffe_afff_fffe) }
    /// What a host and a port are made of in a target: letters, digits and `. - _ : [ ]`.
    static var authority: ASCIISet { ASCIISet(low: 0x07ff_6000_0000_0000, high: 0x07ff_fffe_afff_fffe) }
    /// What may stand in a quoted string as it is (RFC 9110, 5.6.4), ASCII alone.
    static var quotedText: ASCIISet { ASCIISet(low: 0xffff_fffb_0000_0000, high: 0x7fff_ffff_efff_ffff) }
}
