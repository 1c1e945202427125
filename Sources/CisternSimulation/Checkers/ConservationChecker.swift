internal import Cistern

/// Conservation: at each server, the granted tokens equal those spent, returned, expired and held.
///
/// The spent tokens that the server reports also equal the tokens that it admitted.
struct ConservationChecker {
    static let name = "conservation"

    private var admitted: [Int]

    init(_ settings: WorldSettings) {
        admitted = Array(repeating: 0, count: settings.servers)
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        if case .decided(let decided) = observation, decided.decision.outcome == .allowed {
            admitted[decided.server] += decided.cost
        }
        return nil
    }

    /// Checks the totals of one run of a server.
    mutating func endRun(of server: Int, tally: LeaseTokenTally, leased: Int) -> String? {
        defer { admitted[server] = 0 }
        let accounted = tally.spent + tally.returned + tally.expired + UInt64(leased)
        if tally.granted != accounted {
            return """
                server \(server) was granted \(tally.granted), but spent \(tally.spent), returned \(tally.returned), \
                let \(tally.expired) expire and holds \(leased)
                """
        }
        if tally.spent != UInt64(admitted[server]) {
            return "server \(server) reports \(tally.spent) spent tokens, but admitted \(admitted[server])"
        }
        return nil
    }
}
