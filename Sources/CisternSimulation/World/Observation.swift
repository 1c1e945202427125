package import Cistern

/// An event in a world, as an observer with global knowledge sees it.
package enum Observation {
    /// A request arrived at a server that was up.
    case arrived(server: Int, key: Int, cost: Int)
    case decided(Decided)
    /// A node acted on a lease request.
    case granted(Granted)
    /// A server received the answer to a lease request; `order` is the order of the grant.
    case answered(server: Int, key: Int, order: Int)
    /// The tokens that a server holds for a key, and its tokens on record at the key's node.
    case held(server: Int, key: Int, leased: Int, recorded: Int)
    /// A server crashed and lost its memory.
    case crashed(server: Int)
    /// A node lost a key's bucket with this many tokens outstanding.
    case lost(key: Int, outstanding: Int)
    /// The clock of a key's node is about to step; trickle grants still have this much to deliver.
    case stepped(key: Int, isForward: Bool, trickleRemainingUnits: Int64)
    /// Recovery begins: no more faults, and a light load.
    case recovering

    /// A hash of the observation, for the digest of the world.
    var number: UInt64 {
        switch self {
        case .arrived(let server, let key, let cost): Self.mixed(1, server, key, cost)
        case .decided(let decided):
            Self.mixed(2, decided.server, decided.key, Int(decided.decision.outcome.rawValue))
        case .granted(let granted):
            Self.mixed(
                3, granted.grant.tokens, granted.grant.trickleTokens,
                Int(truncatingIfNeeded: granted.bucket.balanceUnits)
            )
        case .answered(let server, let key, let order): Self.mixed(4, server, key, order)
        case .held(let server, let key, let leased, let recorded):
            Self.mixed(5, server, key, leased &* 31 &+ recorded)
        case .crashed(let server): Self.mixed(6, server)
        case .lost(let key, let outstanding): Self.mixed(7, key, outstanding)
        case .recovering: 8
        case .stepped(let key, _, let trickleRemaining): Self.mixed(9, key, Int(trickleRemaining))
        }
    }

    private static func mixed(_ parts: Int...) -> UInt64 {
        parts.reduce(0) { ($0 &+ UInt64(bitPattern: Int64($1))) &* 0x9e37_79b9_7f4a_7c15 }
    }
}

/// The decision on one request.
package struct Decided {
    package var server: Int
    package var key: Int
    package var cost: Int
    package var decision: Decision
    /// When the server began to handle the request.
    package var arrivedAt: Time
    /// How long the server was paused between then and the decision.
    package var paused: Time
}

/// One lease request at the store.
package struct Granted {
    package var server: Int
    package var key: Int
    package var request: LeaseRequest
    package var grant: Grant
    /// The bucket before the grant.
    package var before: StoreBucket
    /// The bucket after the grant.
    package var bucket: StoreBucket
    /// The sequence number of the grant among all grants of the world.
    package var order: Int
    /// When the node acted.
    package var at: Time
    /// The time that the node's clock showed then.
    package var storeAt: Time
}

/// A violated invariant.
package struct Violation: Sendable, Equatable {
    /// Which checker found it.
    package var checker: String
    package var time: Time
    package var what: String

    package init(checker: String, time: Time, what: String) {
        self.checker = checker
        self.time = time
        self.what = what
    }
}
