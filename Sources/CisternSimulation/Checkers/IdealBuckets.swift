internal import Cistern

/// What one ideal bucket for each organization would still hold, had it paid for everything that was admitted.
///
/// Time counts in whole milliseconds. Where a node loses its data the promise starts anew: a full bucket, and beside it
/// what was leased and may be spent until it lapses.
struct IdealBuckets {
    private struct Ideal {
        var bucket: TokenBucket
        /// What was leased when data was lost, and has not been spent since.
        var leftover: Int64 = 0
        /// The last grant before the latest loss.
        var lastGrantBeforeLoss = 0
        /// Which servers have had no answer since from the bucket that came after it: what they spend was leased
        /// before.
        var spendsLeftover: [Bool]
    }

    private let limit: Limit
    private var ideals: [Ideal]
    private var latestGrant = 0

    init(_ settings: WorldSettings) {
        limit = settings.limit
        let full = TokenBucket(full: settings.limit, nowMilliseconds: Time(0).storeMilliseconds)
        let none = Array(repeating: false, count: settings.servers)
        ideals = Array(repeating: Ideal(bucket: full, spendsLeftover: none), count: settings.keys)
    }

    /// Takes something in; the level that an admission leaves, below 0 where the bucket could not have paid for it.
    mutating func observe(_ observation: Observation, at now: Time) -> (key: Int, level: Int64)? {
        switch observation {
        case .granted(let granted): latestGrant = granted.order
        case .answered(let server, let key, let order):
            ideals[key].spendsLeftover[server] = order <= ideals[key].lastGrantBeforeLoss
        case .lost(let key, let outstanding):
            ideals[key].bucket = TokenBucket(full: limit, nowMilliseconds: now.storeMilliseconds)
            ideals[key].leftover += Int64(outstanding) * Limit.microtokensPerToken
            ideals[key].lastGrantBeforeLoss = latestGrant
            for server in ideals[key].spendsLeftover.indices {
                ideals[key].spendsLeftover[server] = true
            }
        case .decided(let decided) where decided.decision.outcome == .allowed:
            return (decided.key, admit(decided, at: now))
        default: break
        }
        return nil
    }

    private mutating func admit(_ decided: Decided, at now: Time) -> Int64 {
        let key = decided.key
        let cost = Int64(decided.cost) * Limit.microtokensPerToken
        if ideals[key].spendsLeftover[decided.server] {
            ideals[key].leftover -= cost
            return ideals[key].leftover
        }
        ideals[key].bucket.refill(limit, nowMilliseconds: now.storeMilliseconds)
        let level = ideals[key].bucket.microtokens - cost
        ideals[key].bucket = TokenBucket(microtokens: level, asOfMilliseconds: now.storeMilliseconds)
        return level
    }

    /// Lets what was admitted too much be forgotten.
    mutating func forgive(_ key: Int, at now: Time) {
        let bucket = ideals[key].bucket
        ideals[key].leftover = max(0, ideals[key].leftover)
        ideals[key].bucket = TokenBucket(
            microtokens: max(0, bucket.microtokens), asOfMilliseconds: bucket.asOfMilliseconds)
    }
}
