internal import Cistern

/// What goes from a server to a node.
struct Message {
    enum Content {
        case lease(LeaseRequest, key: Int)
        /// Tokens that were spent since the last time, for a limiter that settles afterwards.
        case settle(key: Int, tokens: Int)
        /// Sent to a node that was down, to learn whether it is up.
        case probe
        /// The script, for a node that has forgotten it, and the request that found out.
        case script(LeaseRequest, key: Int)
    }

    let content: Content
    let server: Int
    /// Which run of the server sent it.
    let run: Int
    /// The sender's number for it.
    let ticket: Int
}

/// What goes back.
struct Reply {
    enum Content {
        case granted(Grant, order: Int)
        case settled(balanceMicrotokens: Int64)
        case pong
        /// A later request of the same lessee came first.
        case stale
        case scriptUnknown
        /// Another node has the organization now.
        case moved(to: Int)
    }

    let content: Content
    let node: Int
    let server: Int
    let run: Int
    let ticket: Int
}
