/// The slots of a Redis Cluster.
///
/// Source: Redis Cluster specification, "Key distribution model": CRC-16/XMODEM of the key's hash tag, modulo 16384.
enum HashSlot {
    /// How many slots there are.
    static let count = 16384

    /// The slot of a key.
    static func of(_ key: [UInt8]) -> Int {
        Int(crc16(tag(in: key))) % count
    }

    /// The slot of a bucket, computed without building the names of its Redis keys.
    static func ofBucket(_ key: Span<UInt8>) -> Int {
        let braces: ClosedRange = UInt8(ascii: "{")...UInt8(ascii: "}")
        guard key.count > 0, key[0] != braces.lowerBound, key[0] != braces.upperBound else {
            let name = key.withUnsafeBufferPointer { Array($0) }
            return of([braces.lowerBound] + KeyNames.tag(of: name) + [braces.upperBound])
        }
        // The key is the hash tag, up to the first closing brace.
        var crc: UInt16 = 0
        for index in key.indices {
            let byte = key[index]
            if byte == braces.upperBound { break }
            crc = next(crc, byte)
        }
        return Int(crc) % count
    }

    /// The hash tag: the text between the first `{` and the next `}` if it is not empty, or else the whole key.
    private static func tag(in key: [UInt8]) -> ArraySlice<UInt8> {
        guard let open = key.firstIndex(of: UInt8(ascii: "{")),
            let close = key[(open + 1)...].firstIndex(of: UInt8(ascii: "}")), close > open + 1
        else { return key[...] }
        return key[(open + 1)..<close]
    }

    static func crc16(_ bytes: some Sequence<UInt8>) -> UInt16 {
        bytes.reduce(0) { next($0, $1) }
    }

    private static func next(_ crc: UInt16, _ byte: UInt8) -> UInt16 {
        crc << 8 ^ table[Int(crc >> 8 ^ UInt16(byte))]
    }

    /// The checksum of each single byte; the polynomial is x¹⁶ + x¹² + x⁵ + 1.
    private static let table: [UInt16] = (0..<256).map { byte in
        (0..<8).reduce(UInt16(byte) << 8) { crc, _ in crc & 0x8000 == 0 ? crc << 1 : crc << 1 ^ 0x1021 }
    }
}
