/// Decides how much a server leases ahead of use: a pure function, to be replaced where another suits better.
///
/// It is asked whenever a lease request is about to leave. What it answers is only a wish: the store grants what the
/// bucket has, so no sizing can make it give too much. The limiter holds a lock meanwhile: it must return within
/// microseconds, and must not ask the limiter anything.
public protocol LeaseSizing: Sendable {
    /// What to wish for.
    func requested(for use: LeaseUsage, settings: LeaseSettings) -> RequestedLease
}

/// What a sizing knows of one organization at this server.
public struct LeaseUsage: Sendable, Equatable {
    /// The limit that holds.
    public var limit: Limit
    /// How fast tokens are being asked for here, whether they were there or not: tokens a second, averaged.
    public var demandPerSecond: Double
    /// Tokens that will be left of those held once all that waits is paid.
    public var held: Int
}

/// What a lessee would like to have ahead of use.
public struct RequestedLease: Sendable, Equatable {
    /// Tokens beyond what waits, 0 to 10^9; 0 for none.
    public var prefetchTokens: Int
    /// This lessee's weight where the balance must be shared, in thousandths of a token a second, 0 to 10^12.
    ///
    /// The store shares by weight among the lessees that have a lease. One of weight 0 takes what there is.
    public var weight: Int64
    /// How long a pace may run where the balance is short, in milliseconds; 0 for no pace.
    public var trickleMilliseconds: Int64
    /// How many times as much, for as many times as long, a lessee may have that is alone: 1 and more.
    public var soloMultiplier: Int

    /// The same wish, with paces no longer than any server counts on.
    func bounded(by settings: LeaseSettings) -> RequestedLease {
        var requested = self
        requested.trickleMilliseconds = min(trickleMilliseconds, settings.longestTrickleMilliseconds)
        if requested.trickleMilliseconds > 0 {
            requested.soloMultiplier = min(
                soloMultiplier, Int(settings.longestTrickleMilliseconds / requested.trickleMilliseconds))
        }
        return requested
    }

    /// No wish: the store grants what waits and no more.
    public static let none = RequestedLease(prefetchTokens: 0, weight: 0)

    /// Creates a wish; without the last two it is one for tokens at once.
    public init(prefetchTokens: Int, weight: Int64, trickleMilliseconds: Int64 = 0, soloMultiplier: Int = 1) {
        self.prefetchTokens = prefetchTokens
        self.weight = weight
        self.trickleMilliseconds = trickleMilliseconds
        self.soloMultiplier = soloMultiplier
    }
}

/// Leases what demand will take over the horizon: the sizing that suits most services.
///
/// An organization whose demand over the horizon is below ``LeaseSettings/minimumTokens`` is asked for request by
/// request: at that size leasing strands more than it saves. Unless its bucket is so large that nobody would miss what is
/// stranded: then it gets what it needs for as long as a lease lasts. Demand beyond what the bucket can sustain counts in
/// the sharing and not in the wish.
public struct DemandSizing: LeaseSizing {
    /// Creates the sizing; its constants are in ``LeaseSettings``.
    public init() {}

    /// Demand times horizon, less what is held.
    public func requested(for use: LeaseUsage, settings: LeaseSettings) -> RequestedLease {
        let weight = Int64(min(use.demandPerSecond * 1000, 1e12))
        let sustained = min(use.demandPerSecond, use.limit.refillPerSecond)
        let target = sustained * Double(settings.horizonMilliseconds) / 1000
        guard target >= Double(settings.minimumTokens) else {
            let wanted = sustained * Double(settings.durationMilliseconds) / 1000
            let prefetchTokens = min(settings.negligibleTokens(of: use.limit), Int(wanted.rounded(.up)))
            return RequestedLease(prefetchTokens: max(0, prefetchTokens - use.held), weight: weight)
        }
        return RequestedLease(
            prefetchTokens: max(0, Int(min(target, Double(use.limit.capacity))) - use.held), weight: weight,
            trickleMilliseconds: settings.horizonMilliseconds, soloMultiplier: settings.soloMultiplier)
    }
}

extension LeaseSettings {
    /// As many tokens as nobody misses while a lease lasts: a millionth of the bucket, and of what flows into it meanwhile.
    ///
    /// A thousand servers that each strand so many cost an organization a thousandth. It is 0 for all but vast limits: of a
    /// bucket that a lease of a few tokens means something to, none is taken without a demand that is worth it.
    func negligibleTokens(of limit: Limit) -> Int {
        let inflow = limit.refillPerSecond * Double(durationMilliseconds) / 1000
        return Int(min(Double(limit.capacity), inflow) / 1_000_000)
    }
}

/// Leases the same number of tokens each time, taken from whatever the store has.
public struct FixedSizing: LeaseSizing {
    private let tokens: Int

    /// Creates the sizing.
    ///
    /// - Parameter tokens: how many to lease, 0 to 10^9.
    public init(tokens: Int) {
        self.tokens = tokens
    }

    /// The fixed number, at once.
    public func requested(for use: LeaseUsage, settings: LeaseSettings) -> RequestedLease {
        RequestedLease(prefetchTokens: tokens, weight: 0)
    }
}

/// Leases nothing ahead: every request is the store's to decide.
public struct PerRequestSizing: LeaseSizing {
    /// Creates the sizing.
    public init() {}

    /// Nothing.
    public func requested(for use: LeaseUsage, settings: LeaseSettings) -> RequestedLease { .none }
}
