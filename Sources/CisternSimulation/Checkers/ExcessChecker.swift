internal import Cistern

/// No excess: over every interval of length t all servers together admit at most C + R·t.
///
/// That is so exactly if an ideal bucket, full at first, could have paid for everything admitted, at the time at which
/// it was admitted. Time counts in whole milliseconds of the store's clock, the only clock of a bucket. Where a node
/// loses its data the promise starts anew: a full bucket, and on top of it what was leased and may still be spent.
struct ExcessChecker {
    static let name = "excess"

    private struct Ideal {
        var bucket: TokenBucket
        /// Until when more than the capacity may be there, in milliseconds.
        var surplusUntil: Int64 = 0
    }

    private let limit: Limit
    private let leaseMilliseconds: Int64
    private var ideals: [Ideal]
    private var lowest: Int64 = 0

    init(_ settings: WorldSettings) {
        limit = settings.limit
        leaseMilliseconds = settings.limiter.lease.durationMilliseconds
        let full = TokenBucket(full: settings.limit, nowMilliseconds: Time(0).storeMilliseconds)
        ideals = Array(repeating: Ideal(bucket: full), count: settings.organizations)
    }

    var peakPercent: Double {
        Double(-lowest) / Double(limit.capacityMicrotokens) * 100
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        switch observation {
        case .decided(let decided) where decided.decision.outcome == .allowed:
            return admit(decided.cost, of: decided.organization, at: now)
        case .lost(let organization, let outstanding):
            advance(organization, at: now)
            let surplus = Int64(outstanding) * Limit.microtokensPerToken
            ideals[organization].bucket = TokenBucket(
                microtokens: limit.capacityMicrotokens + surplus, asOfMilliseconds: now.storeMilliseconds)
            ideals[organization].surplusUntil = now.storeMilliseconds + leaseMilliseconds
            return nil
        default: return nil
        }
    }

    private mutating func advance(_ organization: Int, at now: Time) {
        var ideal = ideals[organization]
        ideal.bucket.refill(limit, nowMilliseconds: now.storeMilliseconds)
        if ideal.surplusUntil < now.storeMilliseconds, ideal.bucket.microtokens > limit.capacityMicrotokens {
            ideal.bucket = TokenBucket(full: limit, nowMilliseconds: now.storeMilliseconds)
        }
        ideals[organization] = ideal
    }

    private mutating func admit(_ cost: Int, of organization: Int, at now: Time) -> String? {
        advance(organization, at: now)
        let level = ideals[organization].bucket.microtokens - Int64(cost) * Limit.microtokensPerToken
        ideals[organization].bucket = TokenBucket(microtokens: level, asOfMilliseconds: now.storeMilliseconds)
        lowest = min(lowest, level)
        guard level < 0 else { return nil }
        return "org-\(organization) was given \(-level) microtokens more than capacity and refill allow"
    }
}
