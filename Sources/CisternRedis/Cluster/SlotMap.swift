/// Which node of a Redis Cluster keeps which slots, as one of them says.
struct SlotMap: Equatable {
    struct Range: Equatable {
        let slots: ClosedRange<Int>
        let primary: NodeAddress
    }

    let ranges: [Range]
    let replicas: Set<NodeAddress>

    /// Reads the answer to `CLUSTER SLOTS`; nil where it is none.
    ///
    /// - Parameter host: the host of the node that answered, which stands for one that is left out.
    init?(_ reply: RESPValue, from host: String) {
        guard case .array(let entries) = reply else { return nil }
        var ranges: [Range] = []
        var replicas: Set<NodeAddress> = []
        for entry in entries {
            guard case .array(let fields) = entry, fields.count >= 3, case .integer(let first) = fields[0],
                case .integer(let last) = fields[1], 0...last ~= first, last < Int64(HashSlot.count),
                let primary = NodeAddress(fields[2])
            else { return nil }
            ranges.append(Range(slots: Int(first)...Int(last), primary: primary.on(host)))
            replicas.formUnion(fields[3...].compactMap { NodeAddress($0)?.on(host) })
        }
        self.ranges = ranges
        self.replicas = replicas
    }
}

extension NodeAddress {
    /// Reads what stands for a node there: its host, which may be left out, its port, and more.
    fileprivate init?(_ field: RESPValue) {
        guard case .array(let words) = field, words.count >= 2, case .integer(let port) = words[1], 1...65535 ~= port
        else { return nil }
        var host = ""
        if case .string(let bytes) = words[0] { host = String(decoding: bytes, as: UTF8.self) }
        self.init(host: host, port: Int(port))
    }
}
