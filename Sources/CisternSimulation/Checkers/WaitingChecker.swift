internal import Cistern

/// Bounded waiting: every request is decided within the store timeout, by the clock of its server.
///
/// The time for which that server was paused does not count.
struct WaitingChecker {
    static let name = "waiting"

    private let longest: Time

    init(_ settings: WorldSettings) {
        let timeout = settings.lease.timeoutMilliseconds
        longest = .milliseconds(timeout + timeout * settings.limiter.lease.clockDriftPerMille / 1000 + 2)
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        guard case .decided(let decided) = observation else { return nil }
        let waited = now - decided.arrivedAt - decided.paused
        guard waited > longest else { return nil }
        return "a request for org-\(decided.key) waited \(Double(waited) / 1e6) ms"
    }

    /// Checks for overdue requests without a decision.
    func finish(_ requests: [Int: World.Request], at now: Time) -> String? {
        let overdue = requests.values.filter { now - $0.arrivedAt > longest }
        return overdue.isEmpty ? nil : "\(overdue.count) requests were never decided"
    }
}
