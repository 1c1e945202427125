/// A redirection: the error reply of a Redis Cluster node that did not act on a request.
///
/// Source: Redis Cluster specification, "Redirection and resharding".
enum Redirect: Equatable, Sendable {
    /// `MOVED`: another node owns the slot from now on.
    case moved(slot: Int, NodeAddress)
    /// `ASK`: the slot is migrating, and this Redis key has already moved.
    case ask(slot: Int, NodeAddress)
    /// `TRYAGAIN`: the slot is migrating, and the Redis keys are split between two nodes.
    case tryAgain
    /// `CLUSTERDOWN Hash slot not served`: no node owns the slot, as far as this node knows.
    case unserved

    /// Parses an error reply; nil if it is not a redirection.
    init?(_ reply: String) {
        let words = reply.split(separator: " ")
        if words.first == "TRYAGAIN" {
            self = .tryAgain
            return
        }
        // Any other `CLUSTERDOWN` concerns the whole node.
        if reply.hasPrefix("CLUSTERDOWN Hash slot not served") {
            self = .unserved
            return
        }
        guard words.count >= 3, let slot = Int(words[1]), 0..<HashSlot.count ~= slot,
            let address = NodeAddress(String(words[2]))
        else { return nil }
        switch words[0] {
        case "MOVED": self = .moved(slot: slot, address)
        case "ASK": self = .ask(slot: slot, address)
        default: return nil
        }
    }
}

/// The address of a Redis Cluster node, as another node reports it.
struct NodeAddress: Hashable, Sendable {
    /// What a node reports as the host if it does not know one.
    static let unknownHost = "?"

    /// The host; empty for the host of the reporting node, ``unknownHost`` if it is not known.
    let host: String
    let port: Int

    init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Parses `host:port`; the host may be an IPv6 address without brackets.
    init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
            1...65535 ~= port
        else { return nil }
        self.init(host: String(text[..<colon]), port: port)
    }

    /// The same address, with an empty host replaced by the given one.
    func on(_ host: String) -> NodeAddress {
        self.host.isEmpty ? NodeAddress(host: host, port: port) : self
    }

    /// Whether the host is not known.
    var isUnknown: Bool { host == Self.unknownHost }
}
