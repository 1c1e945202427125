internal import Cistern

/// A message from a server to a node.
struct Message {
    enum Content {
        case lease(LeaseRequest, key: Int)
        /// Tokens spent since the last settlement; sent by the write-behind limiter only.
        case settle(key: Int, tokens: Int)
        /// Asks a node that was down whether it is up again.
        case probe
        /// The script with a request, for a node that reported the script as unknown.
        case script(LeaseRequest, key: Int)
    }

    let content: Content
    let server: Int
    /// The incarnation of the server that sent it; each start begins a new one.
    let incarnation: Int
    /// Identifies the message; the reply carries the same ticket.
    let ticket: Int
}

/// A node's reply to a message.
struct Reply {
    enum Content {
        case granted(Grant, order: Int)
        case settled(balanceUnits: Int64)
        case pong
        /// The node has already acted on a later request of the same lessee.
        case stale
        case scriptUnknown
        /// The key's bucket is on another node.
        case moved(to: Int)
    }

    let content: Content
    let node: Int
    let server: Int
    let incarnation: Int
    let ticket: Int
}
