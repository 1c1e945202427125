internal import Cistern

/// No false denial: a server denies only what the store's last answer to it said the bucket cannot pay, and only until
/// it next could.
///
/// What the store said is taken from the store's own books, not from the message. Those who had paces then are taken
/// to go on with them, for as long as the answer holds: the server's own pace, or a horizon.
struct FalseDenialChecker {
    static let name = "false denial"

    private struct Word {
        var grant: Granted
        var grantedAt: Time
        var answeredAt: Time
    }

    private let limit: Limit
    private let lease: LeaseSettings
    /// Grants by their order, until they are answered or forgotten.
    private var grants: [Int: Granted] = [:]
    /// The last answer to each server for each organization.
    private var words: [[Word?]]

    init(_ settings: WorldSettings) {
        limit = settings.limit
        lease = settings.limiter.lease
        words = Array(
            repeating: Array(repeating: nil, count: settings.keys), count: settings.servers)
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        switch observation {
        case .granted(let granted):
            grants[granted.order] = granted
            grants.removeStale(before: granted.order)
        case .answered(let server, let key, let order):
            guard let grant = grants.removeValue(forKey: order) else { return nil }
            words[server][key] = Word(grant: grant, grantedAt: grant.at, answeredAt: now)
        case .crashed(let server):
            for key in words[server].indices { words[server][key] = nil }
        case .decided(let decided) where decided.decision.outcome == .denied:
            guard decided.cost <= limit.capacity else { return nil }
            return judge(decided, at: now)
        default: break
        }
        return nil
    }

    private func judge(_ decided: Decided, at now: Time) -> String? {
        let who = "server \(decided.server) denied org-\(decided.key)"
        guard let word = words[decided.server][decided.key] else {
            return "\(who) without ever having been told anything"
        }
        let books = Books(word.grant, at: word.grant.storeAt, limit: limit)
        // The slowest clock that is allowed for may take the moment for that much earlier.
        let elapsed = (now - word.grantedAt) / 1_000_000 * (1000 - 2 * lease.clockDriftPerMille) / 1000 - 1
        let cost = Int64(decided.cost) * Limit.microtokensPerToken
        var open = books.openMicrotokens
        if books.hasTrickle {
            // It has its share, as long as that is not less than its weight says.
            if books.isShortChanged { return "\(who), to which the store promised less than its share" }
        } else if now > word.answeredAt {
            // One that waited was judged by the store itself, at that moment.
            open += max(0, elapsed) * books.freeRate
        }
        if open >= cost {
            return "\(who) a cost of \(decided.cost) while the store had \(open) microtokens open to it"
        }
        let holds =
            books.hasTrickle
            ? word.answeredAt + .milliseconds(word.grant.grant.trickleMilliseconds)
            : word.grantedAt
                + .milliseconds(
                    books.freeRate < limit.refillMicrotokensPerMillisecond
                        ? lease.horizonMilliseconds : lease.durationMilliseconds)
        let slack = (holds - word.grantedAt) * 2 * lease.clockDriftPerMille / 1000 + .milliseconds(2)
        // A request that was sent in time may be answered, by that very word, later.
        if now > max(holds + slack, word.answeredAt) {
            return "\(who) by a word of the store that is \(Double(now - word.grantedAt) / 1e6) ms old"
        }
        return nil
    }
}

/// What the store's books say of a grant to a lessee.
private struct Books {
    /// What nobody has, and nobody has been promised.
    let openMicrotokens: Int64
    /// How fast that grows while the paces go on.
    let freeRate: Int64
    let hasTrickle: Bool
    /// Whether the lessee's pace is less than its share of the inflow, though more was free.
    let isShortChanged: Bool

    init(_ granted: Granted, at time: Time, limit: Limit) {
        let now = time.storeMilliseconds
        let running = granted.bucket.records.filter { $0.trickleEndsMilliseconds > now }
        let rate = limit.refillMicrotokensPerMillisecond
        let free = rate - running.reduce(0) { $0 + $1.trickleRate }
        let left =
            granted.bucket.balanceMicrotokens
            + running.reduce(0) { $0 + $1.trickleRate * ($1.trickleEndsMilliseconds - now) }
        // No more than the capacity is ever out, whatever flows in.
        let room = limit.capacityMicrotokens - Int64(granted.bucket.outstanding) * Limit.microtokensPerToken
        openMicrotokens = min(left, room)
        let own = running.first { $0.lesseeID == granted.request.lesseeID }
        hasTrickle = own != nil
        let weights = granted.bucket.records.filter { $0.endsMilliseconds > now }.reduce(0) { $0 + $1.weight }
        let share = Double(rate) * Double(granted.request.requested.weight) / Double(max(1, weights))
        let fair = min(share, Double(free + (own?.trickleRate ?? 0)))
        // A pace is rounded to whole tokens and milliseconds.
        let length = granted.grant.trickleMilliseconds
        let promised = Int64(granted.grant.trickleTokens + 1) * Limit.microtokensPerToken
        isShortChanged = own != nil && Double(promised) < fair * Double(length - 1)
        freeRate = free
    }
}
