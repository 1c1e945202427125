/// Decides how many tokens a server requests in advance: a pure function, which a caller may replace.
///
/// The limiter calls it before it sends a lease request. The result is only a request: the store grants what the bucket
/// has, so no sizing can make it grant too much. The limiter holds a lock during the call. The call must return within
/// microseconds and must not call the limiter.
public protocol LeaseSizing: Sendable {
    /// Returns the prefetch tokens to request.
    func requested(for use: SizingInput, settings: LeaseSettings) -> RequestedLease
}

/// The state of one key at this server, as the input of a sizing.
public struct SizingInput: Sendable, Equatable {
    /// The key's limit.
    public var limit: Limit
    /// The average demand at this server, in tokens a second; it includes denied requests.
    public var demandPerSecond: Double
    /// The held tokens that remain after the waiting requests are paid.
    public var held: Int
}

/// A lessee's request for prefetch tokens.
public struct RequestedLease: Sendable, Equatable {
    /// Tokens beyond those for waiting requests, 0 to 10^9; 0 for none.
    public var prefetchTokens: Int
    /// This lessee's weight when the balance is divided, in thousandths of a token a second, 0 to 10^12.
    ///
    /// The store divides by weight among the lessees that have a lease. A lessee of weight 0 gets whatever is
    /// available.
    public var weight: Int64
    /// The maximum duration of a trickle grant when the balance is short, in milliseconds, up to 60,000; 0 for none.
    public var trickleMilliseconds: Int64
    /// The factor on tokens and trickle duration while the lessee is the only one, 1 to 1000.
    public var soloMultiplier: Int

    /// The same request, with trickle grants of at most ``LeaseSettings/longestTrickleMilliseconds``.
    func limitingTrickle(by settings: LeaseSettings) -> RequestedLease {
        var requested = self
        requested.trickleMilliseconds = min(trickleMilliseconds, settings.longestTrickleMilliseconds)
        if requested.trickleMilliseconds > 0 {
            requested.soloMultiplier = min(
                soloMultiplier, Int(settings.longestTrickleMilliseconds / requested.trickleMilliseconds))
        }
        return requested
    }

    /// The same request, each number moved into its range, so that no sizing can make a computation overflow.
    var bounded: RequestedLease {
        var requested = self
        requested.prefetchTokens = (0...Limit.maximumCapacity).nearest(to: prefetchTokens)
        requested.weight = (0...1_000_000_000_000).nearest(to: weight)
        requested.trickleMilliseconds = (0...60_000).nearest(to: trickleMilliseconds)
        requested.soloMultiplier = (1...1000).nearest(to: soloMultiplier)
        return requested
    }

    /// No prefetch tokens: the store pays only the waiting requests.
    public static let none = RequestedLease(prefetchTokens: 0, weight: 0)

    /// Creates a request; by default for tokens at once, without a trickle grant.
    public init(prefetchTokens: Int, weight: Int64, trickleMilliseconds: Int64 = 0, soloMultiplier: Int = 1) {
        self.prefetchTokens = prefetchTokens
        self.weight = weight
        self.trickleMilliseconds = trickleMilliseconds
        self.soloMultiplier = soloMultiplier
    }
}

/// Requests the tokens that demand takes over the horizon: the sizing that suits most services.
///
/// If that demand is below ``LeaseSettings/minimumDemandTokens``, nothing is requested in advance: leasing would
/// strand more than it saves. Very large buckets are an exception, since stranded tokens are negligible there: the
/// request covers the demand of a whole lease. Demand above the refill rate adds to the weight, not to the tokens.
public struct DemandSizing: LeaseSizing {
    /// Creates the sizing; its constants are in ``LeaseSettings``.
    public init() {}

    /// Demand times horizon, less the held tokens.
    public func requested(for use: SizingInput, settings: LeaseSettings) -> RequestedLease {
        let weight = Int64(min(use.demandPerSecond * 1000, 1e12))
        let sustained = min(use.demandPerSecond, use.limit.refillPerSecond)
        let target = sustained * Double(settings.horizonMilliseconds) / 1000
        guard target >= Double(settings.minimumDemandTokens) else {
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
    /// The tokens that are negligible during a lease: a millionth of the capacity or of the refill, whichever is less.
    ///
    /// If a thousand servers each strand this number, a key loses one thousandth of its capacity or refill. The number
    /// is 0 for all but very large limits: from a small bucket, nothing is leased in advance without enough demand.
    func negligibleTokens(of limit: Limit) -> Int {
        let inflow = limit.refillPerSecond * Double(durationMilliseconds) / 1000
        return Int(min(Double(limit.capacity), inflow) / 1_000_000)
    }
}

/// Requests the same number of tokens each time; the store grants what it has.
public struct FixedSizing: LeaseSizing {
    private let tokens: Int

    /// Creates the sizing.
    ///
    /// - Parameter tokens: how many to lease, 0 to 10^9.
    public init(tokens: Int) {
        self.tokens = tokens
    }

    /// The fixed number of tokens, without a trickle grant.
    public func requested(for use: SizingInput, settings: LeaseSettings) -> RequestedLease {
        RequestedLease(prefetchTokens: tokens, weight: 0)
    }
}

/// Requests nothing in advance: the store decides every request.
public struct PerRequestSizing: LeaseSizing {
    /// Creates the sizing.
    public init() {}

    /// No tokens.
    public func requested(for use: SizingInput, settings: LeaseSettings) -> RequestedLease { .none }
}
