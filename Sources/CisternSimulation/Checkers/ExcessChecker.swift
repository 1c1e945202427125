internal import Cistern

/// No excess: over every interval of length t all servers together admit at most C + R·t.
///
/// That is so exactly if an ideal bucket, full at first, could have paid for everything admitted, at the time at which
/// it was admitted. Time counts in whole milliseconds of the store's clock, the only clock of a bucket. Where a node
/// loses its data the promise starts anew: a full bucket, and beside it what was leased and may be spent until it lapses.
struct ExcessChecker {
    static let name = "excess"

    private struct Ideal {
        var bucket: TokenBucket
        /// What was leased when data was lost, and has not been spent since.
        var leftover: Int64 = 0
        /// The last grant before the latest loss.
        var lastGrantBeforeLoss = 0
        /// Which servers have had no answer since from the bucket that came after it: what they spend was leased before.
        var spendsLeftover: [Bool]
    }

    private let limit: Limit
    private var ideals: [Ideal]
    private var latestGrant = 0
    private var lowest: Int64 = 0

    init(_ settings: WorldSettings) {
        limit = settings.limit
        let full = TokenBucket(full: settings.limit, nowMilliseconds: Time(0).storeMilliseconds)
        let none = Array(repeating: false, count: settings.servers)
        ideals = Array(repeating: Ideal(bucket: full, spendsLeftover: none), count: settings.organizations)
    }

    var peakPercent: Double {
        Double(-lowest) / Double(limit.capacityMicrotokens) * 100
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        switch observation {
        case .granted(let granted): latestGrant = granted.order
        case .answered(let server, let organization, let order):
            ideals[organization].spendsLeftover[server] = order <= ideals[organization].lastGrantBeforeLoss
        case .lost(let organization, let outstanding):
            ideals[organization].bucket = TokenBucket(full: limit, nowMilliseconds: now.storeMilliseconds)
            ideals[organization].leftover += Int64(outstanding) * Limit.microtokensPerToken
            ideals[organization].lastGrantBeforeLoss = latestGrant
            for server in ideals[organization].spendsLeftover.indices {
                ideals[organization].spendsLeftover[server] = true
            }
        case .decided(let decided) where decided.decision.outcome == .allowed:
            return admit(decided, at: now)
        default: break
        }
        return nil
    }

    private mutating func admit(_ decided: Decided, at now: Time) -> String? {
        let organization = decided.organization
        let cost = Int64(decided.cost) * Limit.microtokensPerToken
        let level: Int64
        if ideals[organization].spendsLeftover[decided.server] {
            ideals[organization].leftover -= cost
            level = ideals[organization].leftover
        } else {
            ideals[organization].bucket.refill(limit, nowMilliseconds: now.storeMilliseconds)
            level = ideals[organization].bucket.microtokens - cost
            ideals[organization].bucket = TokenBucket(microtokens: level, asOfMilliseconds: now.storeMilliseconds)
        }
        lowest = min(lowest, level)
        guard level < 0 else { return nil }
        return "org-\(organization) was given \(-level) microtokens more than capacity and refill allow"
    }
}
