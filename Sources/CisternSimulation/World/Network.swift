internal import CisternSupport

/// The wires between servers and nodes: they delay, lose, double, reorder and cut.
struct Network {
    private let latency: ClosedRange<Time>
    private var random: SeededRandom
    /// Until when nothing passes between a server and a node.
    private var cutUntil: [[Time]]
    /// Until when messages are lost and doubled, and how likely that is.
    var isRoughUntil: Time = 0
    var roughness = 0.0
    /// Until when messages take many times as long.
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

    /// When a message arrives that is sent now: never, once, or twice.
    ///
    /// Each time is drawn anew, so later messages overtake earlier ones.
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
