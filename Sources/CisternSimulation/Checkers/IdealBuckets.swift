internal import Cistern

/// Computes the level that an ideal bucket of each key would have if it had paid for every admission.
///
/// Time is in whole milliseconds. When a node loses a key's data, the key gets a new full ideal bucket. Tokens leased
/// before the loss are counted separately, because servers may spend them until their leases expire.
struct IdealBuckets {
    private struct Ideal {
        var bucket: TokenBucket
        /// Tokens outstanding when data was lost and not spent since, in units.
        var leftover: Int64 = 0
        /// The order of the last grant before the latest loss.
        var lastGrantBeforeLoss = 0
        /// Whether each server still spends tokens leased before the loss: until an answer from the new bucket.
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

    /// Returns the level after an admission, in units; below 0 if the bucket could not have paid for it.
    mutating func observe(_ observation: Observation, at now: Time) -> (key: Int, level: Int64)? {
        switch observation {
        case .granted(let granted): latestGrant = granted.order
        case .answered(let server, let key, let order):
            ideals[key].spendsLeftover[server] = order <= ideals[key].lastGrantBeforeLoss
        case .lost(let key, let outstanding):
            ideals[key].bucket = TokenBucket(full: limit, nowMilliseconds: now.storeMilliseconds)
            ideals[key].leftover += limit.units(of: outstanding)
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
        let cost = limit.units(of: decided.cost)
        if ideals[key].spendsLeftover[decided.server] {
            ideals[key].leftover -= cost
            return ideals[key].leftover
        }
        ideals[key].bucket.refill(limit, nowMilliseconds: now.storeMilliseconds)
        let level = ideals[key].bucket.units - cost
        ideals[key].bucket = TokenBucket(units: level, asOfMilliseconds: now.storeMilliseconds)
        return level
    }

    /// Raises negative levels to 0, so that past over-admission is not counted again.
    mutating func clampToZero(_ key: Int, at now: Time) {
        let bucket = ideals[key].bucket
        ideals[key].leftover = max(0, ideals[key].leftover)
        ideals[key].bucket = TokenBucket(
            units: max(0, bucket.units), asOfMilliseconds: bucket.asOfMilliseconds)
    }
}
