/// What a node of a Redis Cluster answers to a request that it has not acted on.
///
/// Source: Redis Cluster specification, "Redirection and resharding".
enum Redirect: Equatable, Sendable {
    /// The slot is another node's from now on.
    case moved(slot: Int, NodeAddress)
    /// The slot is being moved, and this key has been moved already.
    case ask(slot: Int, NodeAddress)
    /// The slot is being moved, and not all of the keys are in one place.
    case tryAgain
    /// The slot is nobody's, as far as this node knows.
    case unserved

    /// Reads an error reply; nil where it is no redirection.
    init?(_ reply: String) {
        let words = reply.split(separator: " ")
        if words.first == "TRYAGAIN" {
            self = .tryAgain
            return
        }
        // Without the word "slot" it is about the whole node.
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

/// Where a node of a Redis Cluster says that another one is.
struct NodeAddress: Hashable, Sendable {
    /// What a node says for its host that has none to tell.
    static let unknownHost = "?"

    /// Empty for the host of the node that said so, and ``unknownHost`` where that is not known.
    let host: String
    let port: Int

    init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Reads `host:port`; the host may be an IPv6 address without brackets.
    init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
            1...65535 ~= port
        else { return nil }
        self.init(host: String(text[..<colon]), port: port)
    }

    /// The same address, with the host filled in where it was left out.
    func on(_ host: String) -> NodeAddress {
        self.host.isEmpty ? NodeAddress(host: host, port: port) : self
    }

    /// Whether it leads nowhere.
    var isUnknown: Bool { host == Self.unknownHost }
}
