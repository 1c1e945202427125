internal import Cistern

/// Liveness: where nothing fails, servers use their nodes; once nothing fails any more, they find back to them, and nobody
/// under a light load is turned away.
struct LivenessChecker {
    static let name = "liveness"

    private let limit: Limit
    private let ceilingMicrotokens: Int64
    /// Whether servers have no memory for all organizations, and turn some away for that.
    private let isNearCapacity: Bool
    /// Whether nothing goes wrong from the start.
    private let neverFails: Bool
    /// How long it may take to find back: the longest pause between probes, a deadline, and the end of every old lease.
    private let settling: Time
    private var recoveredAt: Time?
    /// Buckets that are empty when everything recovers, and smaller than the true ones: whatever they can pay, we must.
    ///
    /// They hold a quarter as much, less a token for each server and what flows in during a round trip. Half may be
    /// leased ahead, and of what was leased and spent some may still be on record; tokens may be on their way, and
    /// reports of what was spent are rounded to the safe side by some milliseconds.
    private var ideals: [TokenBucket]

    init(_ settings: WorldSettings) {
        limit = settings.limit
        ceilingMicrotokens = max(
            0,
            limit.capacityMicrotokens / 4 - Int64(settings.servers) * Limit.microtokensPerToken
                - settings.roundTripMicrotokens - 5 * limit.refillMicrotokensPerMillisecond)
        isNearCapacity = settings.isNearCapacity
        neverFails = settings.faults == .none
        let lease = settings.limiter.lease
        settling = .milliseconds(1000 + lease.timeoutMilliseconds + lease.durationMilliseconds)
        ideals = Array(
            repeating: TokenBucket(microtokens: 0, asOfMilliseconds: 0), count: settings.keys)
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        switch observation {
        case .recovering:
            recoveredAt = now + settling
            for key in ideals.indices {
                ideals[key] = TokenBucket(microtokens: 0, asOfMilliseconds: (now + settling).storeMilliseconds)
            }
        case .decided(let decided):
            if neverFails, decided.decision.outcome == .unmetered || decided.decision.outcome == .refused,
                !isNearCapacity
            {
                return "server \(decided.server) lost org-\(decided.key)'s node, which never failed"
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
            limit, ceilingMicrotokens: ceilingMicrotokens, nowMilliseconds: now.storeMilliseconds)
        let canPay = ideal.take(Int64(decided.cost) * Limit.microtokensPerToken)
        ideals[key] = ideal
        switch decided.decision.outcome {
        case .allowed: return nil
        case .denied:
            return canPay && !isNearCapacity
                ? "server \(decided.server) still denies org-\(key), which uses little" : nil
        case .refused where isNearCapacity: return nil
        case .refused, .unmetered:
            return "server \(decided.server) has not found back to org-\(key)'s node"
        }
    }
}
