internal import Cistern

/// Liveness: once nothing fails any more, servers find back to their nodes, and nobody under a light load is turned
/// away.
struct LivenessChecker {
    static let name = "liveness"

    private let limit: Limit
    private let ceilingMicrotokens: Int64
    /// Whether servers have no memory for all organisations, and turn some away for that.
    private let isCrowded: Bool
    /// How long it may take to find back: the longest pause between probes, a deadline, and the end of every old lease.
    private let settling: Time
    private var recoveredAt: Time?
    /// Buckets that are empty when everything recovers, and smaller than the true ones: whatever they can pay, we must.
    ///
    /// They hold half as much, less a token for each server and what flows in during a round trip. The other half may be leased to
    /// others, each of them may have a spent token on record, tokens may be on their way, and reports of what was
    /// spent are rounded to the safe side by some milliseconds.
    private var ideals: [TokenBucket]

    init(_ settings: WorldSettings) {
        limit = settings.limit
        ceilingMicrotokens = max(
            0,
            limit.capacityMicrotokens / 2 - Int64(settings.servers) * Limit.microtokensPerToken
                - settings.roundTripMicrotokens - 5 * limit.refillMicrotokensPerMillisecond)
        isCrowded = settings.limiter.maximumBuckets < settings.organizations
        let lease = settings.limiter.lease
        settling = .milliseconds(1000 + lease.timeoutMilliseconds + lease.durationMilliseconds)
        ideals = Array(
            repeating: TokenBucket(microtokens: 0, asOfMilliseconds: 0), count: settings.organizations)
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        switch observation {
        case .recovering:
            recoveredAt = now + settling
            for organization in ideals.indices {
                ideals[organization] = TokenBucket(microtokens: 0, asOfMilliseconds: (now + settling).storeMilliseconds)
            }
        case .decided(let decided):
            guard let recoveredAt, decided.arrivedAt > recoveredAt else { return nil }
            return judge(decided, at: now)
        default: break
        }
        return nil
    }

    private mutating func judge(_ decided: Decided, at now: Time) -> String? {
        let organization = decided.organization
        var ideal = ideals[organization]
        ideal.refill(
            limit, ceilingMicrotokens: ceilingMicrotokens, nowMilliseconds: now.storeMilliseconds)
        let canPay = ideal.take(Int64(decided.cost) * Limit.microtokensPerToken)
        ideals[organization] = ideal
        switch decided.decision.outcome {
        case .allowed: return nil
        case .denied:
            return canPay && !isCrowded
                ? "server \(decided.server) still denies org-\(organization), which uses little" : nil
        case .refused where isCrowded: return nil
        case .refused, .unmetered:
            return "server \(decided.server) has not found back to org-\(organization)'s node"
        }
    }
}
