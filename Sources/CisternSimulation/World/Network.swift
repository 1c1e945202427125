internal import CisternSupport

/// The network between servers and nodes.
///
/// It can delay, lose, duplicate, reorder and block messages.
struct Network {
    private let latency: ClosedRange<Time>
    private var random: SeededRandom
    /// Messages between a server and a node are lost until this time; indexed by server, then node.
    private var partitionedUntil: [[Time]]
    /// Messages may be lost or duplicated until this time.
    var lossyUntil: Time = 0
    /// The probability, 0 to 1, that a message is lost, and that a message that is not lost is duplicated.
    var lossProbability = 0.0
    /// Messages take 1 to 20 times as long until this time.
    var slowUntil: Time = 0

    init(_ settings: WorldSettings, random: SeededRandom) {
        latency = settings.latencyMicroseconds.lowerBound * 1000...settings.latencyMicroseconds.upperBound * 1000
        self.random = random
        partitionedUntil = Array(repeating: Array(repeating: 0, count: settings.nodes), count: settings.servers)
    }

    mutating func cut(server: Int, node: Int, until time: Time) {
        partitionedUntil[server][node] = max(partitionedUntil[server][node], time)
    }

    mutating func heal() {
        lossyUntil = 0
        slowUntil = 0
        for server in partitionedUntil.indices {
            for node in partitionedUntil[server].indices { partitionedUntil[server][node] = 0 }
        }
    }

    /// Returns the arrival times of a message sent now: none if it is lost, two if it is duplicated.
    ///
    /// Each delay is drawn independently, so later messages can overtake earlier ones.
    mutating func arrivals(server: Int, node: Int, now: Time) -> [Time] {
        if partitionedUntil[server][node] > now { return [] }
        var copies = 1
        if lossyUntil > now {
            if random.chance(lossProbability) { copies = 0 } else if random.chance(lossProbability) { copies = 2 }
        }
        return (0..<copies).map { _ in now + delay(now: now) }
    }

    private mutating func delay(now: Time) -> Time {
        let usual = random.number(latency)
        return slowUntil > now ? usual * random.number(Int64(1)...20) : usual
    }
}
