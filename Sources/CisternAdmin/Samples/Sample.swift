internal import Cistern

/// One second of a server's activity: the values in the dashboard's charts.
///
/// Values without a unit in their name or comment are counts per second. Nil means that there was nothing to measure.
struct Sample: Encodable, Sendable {
    /// The end of the second, in milliseconds since 1970.
    var at: Int64
    var allowed = 0.0
    var denied = 0.0
    var unmetered = 0.0
    var refused = 0.0
    /// Allowed decisions that a limit in shadow mode would have denied.
    var shadowDenied = 0.0
    var storeCalls = 0.0
    @Nullable var storeCallsPerThousand: Double?
    @Nullable var decidedLocallyPercent: Double?
    /// Decision latency in milliseconds: the wait for the store, which is 0 for decisions from memory.
    @Nullable var p50: Double?
    @Nullable var p99: Double?
    @Nullable var p999: Double?
    /// Tokens leased and not spent.
    var outstanding = 0.0
    /// Outstanding tokens beyond what this server spends within one lease horizon.
    var stranded = 0.0
    /// Event-loop lag at the 99th percentile, in milliseconds.
    var eventLoopLag = 0.0

    /// Computes the values from two consecutive snapshots.
    init(from earlier: ServerSnapshot, to later: ServerSnapshot, seconds: Double, at unixMilliseconds: Int64) {
        at = unixMilliseconds
        func rate(_ count: (ServerSnapshot) -> UInt64) -> Double {
            Self.rounded(Double(count(later) &- min(count(later), count(earlier))) / seconds)
        }
        allowed = rate { $0.limiter.decisions.allowed }
        denied = rate { $0.limiter.decisions.denied }
        unmetered = rate { $0.limiter.decisions.unmetered }
        refused = rate { $0.limiter.decisions.refused }
        shadowDenied = rate { $0.limiter.decisions.shadowDenied }
        storeCalls = rate(\.storeCalls)
        let decisions = later.limiter.decisions.total &- earlier.limiter.decisions.total
        if decisions > 0 {
            let calls = later.storeCalls &- earlier.storeCalls
            storeCallsPerThousand = Self.rounded(Double(calls) * 1000 / Double(decisions))
            let waited = later.limiter.decisions.waited &- earlier.limiter.decisions.waited
            decidedLocallyPercent = Self.rounded(max(0, 100 - Double(waited) * 100 / Double(decisions)))
            let waits = later.limiter.waits.since(earlier.limiter.waits)
            let local = decisions &- min(decisions, waits.count)
            p50 = waits.quantile(0.5, zeros: local).map(Self.rounded)
            p99 = waits.quantile(0.99, zeros: local).map(Self.rounded)
            p999 = waits.quantile(0.999, zeros: local).map(Self.rounded)
        }
        outstanding = Double(later.limiter.leaseTokens.outstanding)
        if let lease = later.lease {
            let spentPerSecond = rate { $0.limiter.leaseTokens.spent }
            let needed = spentPerSecond * Double(lease.horizonMilliseconds) / 1000
            stranded = Self.rounded(max(0, outstanding - needed))
        }
        eventLoopLag = Self.rounded(later.eventLoopLag.since(earlier.eventLoopLag).quantile(0.99) ?? 0)
    }

    /// Rounds to three decimals, which keeps the JSON short.
    private static func rounded(_ number: Double) -> Double {
        (number * 1000).rounded() / 1000
    }
}
