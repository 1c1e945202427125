/// Which Redis Cluster node owns which slots, as one node reports it.
struct SlotMap: Equatable {
    struct Range: Equatable {
        let slots: ClosedRange<Int>
        let primary: NodeAddress
    }

    let ranges: [Range]
    let replicas: Set<NodeAddress>
    /// The permanent IDs of the primaries and replicas, which distinguish one cluster from another.
    let identifiers: Set<String>

    /// Parses the reply to `CLUSTER SLOTS`; nil if it is malformed.
    ///
    /// - Parameter host: the host of the node that replied, used where an entry leaves the host out.
    init?(_ reply: RESPValue, from host: String) {
        guard case .array(let entries) = reply else { return nil }
        var ranges: [Range] = []
        var replicas: Set<NodeAddress> = []
        var identifiers: Set<String> = []
        for entry in entries {
            guard case .array(let fields) = entry, fields.count >= 3, case .integer(let first) = fields[0],
                case .integer(let last) = fields[1], 0 <= first, first <= last, last < Int64(HashSlot.count),
                let primary = NodeAddress(fields[2])
            else { return nil }
            identifiers.formUnion(fields[2...].compactMap(Self.identifier))
            // A range whose node has no address has no owner for now.
            if !primary.isUnknown { ranges.append(Range(slots: Int(first)...Int(last), primary: primary.on(host))) }
            replicas.formUnion(fields[3...].compactMap(NodeAddress.init).filter { !$0.isUnknown }.map { $0.on(host) })
        }
        self.ranges = ranges
        self.replicas = replicas
        self.identifiers = identifiers
    }

    private static func identifier(_ field: RESPValue) -> String? {
        guard case .array(let words) = field, words.count >= 3, case .string(let bytes) = words[2] else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension NodeAddress {
    /// Parses a node in a slot range: its host, which may be left out, its port, and further fields.
    fileprivate init?(_ field: RESPValue) {
        guard case .array(let words) = field, words.count >= 2, case .integer(let port) = words[1], 1...65535 ~= port
        else { return nil }
        var host = ""
        if case .string(let bytes) = words[0] { host = String(decoding: bytes, as: UTF8.self) }
        // The node is configured to announce a hostname but has none; its metadata may contain an address.
        if host == Self.unknownHost, words.count >= 4 { host = Self.otherHost(words[3]) ?? host }
        self.init(host: host, port: Int(port))
    }

    /// The IP address or host name in metadata pairs such as `ip`, `127.0.0.1`.
    private static func otherHost(_ metadata: RESPValue) -> String? {
        guard case .array(let words) = metadata else { return nil }
        let texts = words.map { word in
            if case .string(let bytes) = word { String(decoding: bytes, as: UTF8.self) } else { "" }
        }
        for name in ["ip", "hostname"] {
            for index in stride(from: 0, to: texts.count - 1, by: 2)
            where texts[index] == name && !texts[index + 1].isEmpty {
                return texts[index + 1]
            }
        }
        return nil
    }
}
