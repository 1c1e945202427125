internal import Cistern

/// No false denial: a server denies only if the store's last answer to it said that the bucket cannot pay.
///
/// A denial is valid only until the bucket could next pay. The checker takes the bucket's state from the store's
/// records, not from the answer. It assumes that trickle grants running at the time of the answer continue while the
/// answer is valid: for the length of the server's own trickle grant, or for a horizon.
struct FalseDenialChecker {
    static let name = "false denial"

    private struct LastAnswer {
        var grant: Granted
        var grantedAt: Time
        var answeredAt: Time
    }

    private let limit: Limit
    private let lease: LeaseSettings
    /// Grants by order, until they are answered or dropped as stale.
    private var grants: [Int: Granted] = [:]
    /// The last answer, by server and key.
    private var lastAnswers: [[LastAnswer?]]

    init(_ settings: WorldSettings) {
        limit = settings.limit
        lease = settings.lease
        lastAnswers = Array(
            repeating: Array(repeating: nil, count: settings.keys), count: settings.servers)
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        switch observation {
        case .granted(let granted):
            grants[granted.order] = granted
            grants.removeStale(before: granted.order)
        case .answered(let server, let key, let order):
            guard let grant = grants.removeValue(forKey: order) else { return nil }
            lastAnswers[server][key] = LastAnswer(grant: grant, grantedAt: grant.at, answeredAt: now)
        case .crashed(let server):
            for key in lastAnswers[server].indices { lastAnswers[server][key] = nil }
        case .decided(let decided) where decided.decision.outcome == .denied:
            guard decided.cost <= limit.capacity else { return nil }
            return judge(decided, at: now)
        default: break
        }
        return nil
    }

    private func judge(_ decided: Decided, at now: Time) -> String? {
        let who = "server \(decided.server) denied org-\(decided.key)"
        guard let word = lastAnswers[decided.server][decided.key] else {
            return "\(who) before any answer from the store"
        }
        let books = StoreRecords(word.grant, limit: limit)
        // The slowest clock within the drift margin measures less elapsed time.
        let elapsed = (now - word.grantedAt) / 1_000_000 * (1000 - 2 * lease.clockDriftPerMille) / 1000 - 1
        let cost = limit.units(of: decided.cost)
        var open = books.openUnits
        if books.hasTrickle {
            // A trickle grant justifies a denial only if it is at least the share that the lessee's weight gives.
            // The balance that is left is for the others.
            if books.isBelowShare { return "\(who), whose trickle grant is below its share" }
            open = min(open, cost - 1)
        } else if now > word.answeredAt {
            // A request that waited for the answer was judged by the store itself, at the time of the grant.
            open += max(0, elapsed) * books.freeRate
        }
        if open >= cost {
            return "\(who) a request of \(decided.cost) tokens while the store had \(open) units available"
        }
        let holds =
            books.hasTrickle
            ? word.answeredAt + .milliseconds(word.grant.grant.trickleMilliseconds)
            : word.grantedAt
                + .milliseconds(
                    books.freeRate < limit.refillUnitsPerMillisecond
                        ? lease.horizonMilliseconds : lease.durationMilliseconds)
        let slack = (holds - word.grantedAt) * 2 * lease.clockDriftPerMille / 1000 + .milliseconds(2)
        // A request that waited for this answer is decided by it, even if it arrives late.
        if now > max(holds + slack, word.answeredAt) {
            return "\(who) based on a store answer that is \(Double(now - word.grantedAt) / 1e6) ms old"
        }
        return nil
    }
}

/// The store's records after a grant to a lessee.
private struct StoreRecords {
    /// Tokens that are neither leased nor promised to a lessee, in units.
    let openUnits: Int64
    /// How fast these tokens grow while trickle grants run, in units per millisecond.
    let freeRate: Int64
    let hasTrickle: Bool
    /// Whether the lessee's trickle grant is below its share of the refill although more refill was free.
    let isBelowShare: Bool

    init(_ granted: Granted, limit: Limit) {
        let (bucket, now) = (granted.bucket, granted.bucket.asOfMilliseconds)
        let rate = limit.refillUnitsPerMillisecond
        let free = rate - bucket.trickleSlots.reduce(0) { $0 + $1.rate }
        let left =
            bucket.balanceUnits + bucket.trickleSlots.reduce(0) { $0 + $1.rate * ($1.endsMilliseconds - now) }
        // Outstanding tokens never exceed the capacity, regardless of the refill.
        let room = limit.capacityUnits - limit.units(of: bucket.outstanding)
        openUnits = min(left, room)
        let own = bucket.records[granted.request.lesseeID].flatMap { $0.trickleEndsMilliseconds > now ? $0 : nil }
        hasTrickle = own != nil
        let weights = bucket.expirySlots.reduce(0) { $0 + $1.weight }
        let share = Double(rate) * Double(granted.request.requested.weight) / Double(max(1, weights))
        let fair = min(share, Double(free + (own?.trickleRate ?? 0)))
        // A trickle grant is rounded to whole tokens and milliseconds, and ends with a slot: up to 1/32 later.
        let length = granted.grant.trickleMilliseconds * 32 / 33
        let promised = limit.units(of: granted.grant.trickleTokens + 1)
        isBelowShare = own != nil && Double(promised) < fair * Double(length - 1)
        freeRate = free
    }
}
