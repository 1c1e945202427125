internal import Cistern

/// Liveness: servers use nodes that never fail, and return to failed nodes once faults end.
///
/// After that, no request under a light load is denied or refused.
struct LivenessChecker {
    static let name = "liveness"

    private let limit: Limit
    /// The capacity of ``ideals``: C/4, less a token per server, the refill of a round trip, and 5 ms of refill.
    ///
    /// Half of C may be leased ahead. Other tokens may be in transit, or spent and still on record. Reports of spending
    /// are rounded to the safe side by some milliseconds.
    private let ceilingUnits: Int64
    /// Whether servers cannot keep all keys in memory, and refuse requests for some of them.
    private let isNearCapacity: Bool
    /// Whether the world has no faults.
    private let neverFails: Bool
    /// The time allowed for recovery: the longest pause between probes, a store timeout, and the longest lease.
    private let recoveryTime: Time
    private var recoveredAt: Time?
    /// Ideal buckets, smaller than the real ones and empty at recovery.
    ///
    /// Servers must allow every request that these buckets can pay.
    private var ideals: [TokenBucket]

    init(_ settings: WorldSettings) {
        limit = settings.limit
        ceilingUnits = max(
            0,
            limit.capacityUnits / 4 - limit.units(of: settings.servers)
                - settings.roundTripUnits - 5 * limit.refillUnitsPerMillisecond)
        isNearCapacity = settings.isNearCapacity
        neverFails = settings.faults == .none
        let lease = settings.lease
        recoveryTime = .milliseconds(1000 + lease.timeoutMilliseconds + lease.durationMilliseconds)
        ideals = Array(
            repeating: TokenBucket(units: 0, asOfMilliseconds: 0), count: settings.keys)
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        switch observation {
        case .recovering:
            recoveredAt = now + recoveryTime
            for key in ideals.indices {
                ideals[key] = TokenBucket(units: 0, asOfMilliseconds: (now + recoveryTime).storeMilliseconds)
            }
        case .decided(let decided):
            if neverFails, decided.decision.outcome == .unmetered || decided.decision.outcome == .refused,
                !isNearCapacity
            {
                return "server \(decided.server) treats org-\(decided.key)'s node as failed, but it never failed"
            }
            guard let recoveredAt, decided.arrivedAt > recoveredAt else { return nil }
            return judge(decided, at: now)
        default: break
        }
        return nil
    }

    private mutating func judge(_ decided: Decided, at now: Time) -> String? {
        let key = decided.key
        var ideal = ideals[key]
        ideal.refill(
            limit, ceilingUnits: ceilingUnits, nowMilliseconds: now.storeMilliseconds)
        let canPay = ideal.take(limit.units(of: decided.cost))
        ideals[key] = ideal
        switch decided.decision.outcome {
        case .allowed: return nil
        case .denied:
            return canPay && !isNearCapacity
                ? "server \(decided.server) still denies org-\(key) under a light load" : nil
        case .refused where isNearCapacity: return nil
        case .refused, .unmetered:
            return "server \(decided.server) still treats org-\(key)'s node as failed after recovery"
        }
    }
}
