/// Reads what the scripts pack with `cmsgpack`: a list of numbers in MessagePack.
extension [UInt8] {
    /// The numbers in these bytes; nil if they are anything else than one list of numbers.
    package var packedNumbers: [Double]? {
        var reader = PackedReader(bytes: self)
        guard let count = reader.listCount() else { return nil }
        var numbers: [Double] = []
        for _ in 0..<count {
            guard let number = reader.number() else { return nil }
            numbers.append(number)
        }
        return reader.isAtEnd ? numbers : nil
    }
}

/// A position in MessagePack bytes.
private struct PackedReader {
    let bytes: [UInt8]
    private var position = 0

    init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    var isAtEnd: Bool { position == bytes.count }

    /// The number of elements of the list that begins here.
    mutating func listCount() -> Int? {
        switch integer(of: 1) {
        case .some(let type) where type & 0xf0 == 0x90: Int(type & 0x0f)
        case 0xdc: integer(of: 2).map { Int($0) }
        default: nil
        }
    }

    mutating func number() -> Double? {
        switch integer(of: 1) {
        case .some(let value) where value <= 0x7f: Double(value)
        case .some(let value) where value >= 0xe0: Double(Int8(truncatingIfNeeded: value))
        case 0xcc: integer(of: 1).map { Double($0) }
        case 0xcd: integer(of: 2).map { Double($0) }
        case 0xce: integer(of: 4).map { Double($0) }
        case 0xcf: integer(of: 8).map { Double($0) }
        case 0xd0: integer(of: 1).map { Double(Int8(truncatingIfNeeded: $0)) }
        case 0xd1: integer(of: 2).map { Double(Int16(truncatingIfNeeded: $0)) }
        case 0xd2: integer(of: 4).map { Double(Int32(truncatingIfNeeded: $0)) }
        case 0xd3: integer(of: 8).map { Double(Int64(truncatingIfNeeded: $0)) }
        case 0xca: integer(of: 4).map { Double(Float(bitPattern: UInt32(truncatingIfNeeded: $0))) }
        case 0xcb: integer(of: 8).map { Double(bitPattern: $0) }
        default: nil
        }
    }

    /// The next bytes as a big-endian number; nil if there are too few.
    private mutating func integer(of count: Int) -> UInt64? {
        guard bytes.count - position >= count else { return nil }
        defer { position += count }
        return bytes[position..<position + count].reduce(0) { $0 << 8 | UInt64($1) }
    }
}
