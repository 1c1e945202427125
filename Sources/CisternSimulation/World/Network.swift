internal import CisternSupport

/// The network between servers and nodes. It can delay, lose, duplicate, reorder and block messages.
struct Network {
    private let latency: ClosedRange<Time>
    private var random: SeededRandom
    /// Messages between a server and a node are lost until this time; indexed by server, then node.
    private var cutUntil: [[Time]]
    /// Messages may be lost or duplicated until this time.
    var isRoughUntil: Time = 0
    /// The probability that a message is lost, and that one not lost is duplicated, 0 to 1.
    var roughness = 0.0
    /// Messages take 1 to 20 times as long until this time.
    var isSlowUntil: Time = 0

    init(_ settings: WorldSettings, random: SeededRandom) {
        latency = settings.latencyMicroseconds.lowerBound * 1000...settings.latencyMicroseconds.upperBound * 1000
        self.random = random
        cutUntil = Array(repeating: Array(repeating: 0, count: settings.nodes), count: settings.servers)
    }

    mutating func cut(server: Int, node: Int, until time: Time) {
        cutUntil[server][node] = max(cutUntil[server][node], time)
    }

    mutating func heal() {
        isRoughUntil = 0
        isSlowUntil = 0
        for server in cutUntil.indices {
            for node in cutUntil[server].indices { cutUntil[server][node] = 0 }
        }
    }

    /// Returns the arrival times of a message sent now: none if it is lost, two if it is duplicated.
    ///
    /// Each delay is drawn independently, so later messages can overtake earlier ones.
    mutating func arrivals(server: Int, node: Int, now: Time) -> [Time] {
        if cutUntil[server][node] > now { return [] }
        var copies = 1
        if isRoughUntil > now {
            if random.chance(roughness) { copies = 0 } else if random.chance(roughness) { copies = 2 }
        }
        return (0..<copies).map { _ in now + delay(now: now) }
    }

    private mutating func delay(now: Time) -> Time {
        let usual = random.number(latency)
        return isSlowUntil > now ? usual * random.number(Int64(1)...20) : usual
    }
}
