package import Cistern

/// Something that happened in a world, as somebody sees it who sees everything.
package enum Observation {
    /// A request came to a server that was up.
    case arrived(server: Int, key: Int, cost: Int)
    case decided(Decided)
    /// A node acted on a lease request.
    case granted(Granted)
    /// A server took in the answer to a lease request; `order` is that of the grant.
    case answered(server: Int, key: Int, order: Int)
    /// What a server holds for an organization, and what its node has on record for it.
    case held(server: Int, key: Int, leased: Int, recorded: Int)
    /// A server forgot what it knew, because it crashed.
    case crashed(server: Int)
    /// A node lost an organization's bucket, of which so much was leased.
    case lost(key: Int, outstanding: Int)
    /// The clock of an organization's store steps; trickle grants have so much to come.
    case stepped(key: Int, isForward: Bool, trickleRemainingMicrotokens: Int64)
    /// From now on nothing fails, and the load is light.
    case recovering

    /// A number that tells what happened from most else that might have.
    var number: UInt64 {
        switch self {
        case .arrived(let server, let key, let cost): Self.mixed(1, server, key, cost)
        case .decided(let decided):
            Self.mixed(2, decided.server, decided.key, Int(decided.decision.outcome.rawValue))
        case .granted(let granted):
            Self.mixed(
                3, granted.grant.tokens, granted.grant.trickleTokens,
                Int(truncatingIfNeeded: granted.bucket.balanceMicrotokens)
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

/// How one request came out.
package struct Decided {
    package var server: Int
    package var key: Int
    package var cost: Int
    package var decision: Decision
    /// When the server took it on.
    package var arrivedAt: Time
    /// How long the server stood still between then and now.
    package var paused: Time
}

/// One lease request at the store.
package struct Granted {
    package var server: Int
    package var key: Int
    package var request: LeaseRequest
    package var grant: Grant
    /// The bucket that it came out of, before it.
    package var before: StoreBucket
    /// And after it.
    package var bucket: StoreBucket
    /// Numbers all grants of a world.
    package var order: Int
    /// When the node acted.
    package var at: Time
    /// The moment that its clock took that for.
    package var storeAt: Time
}

/// A broken promise.
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
