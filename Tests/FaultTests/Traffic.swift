import Cistern
import CisternProcesses
import CisternTesting
import Synchronization

/// Sends requests to every server of a fleet while its nodes have faults, and records the outcomes.
final class Traffic: Sendable {
    /// One request, from its arrival to its decision.
    struct Request: Sendable {
        let key: Int
        let arrivedAt: Int64
        let answeredAt: Int64
        /// The instant at which the limiter counts the request.
        let decidedAt: Int64
        let outcome: Decision.Outcome

        var waitedNanoseconds: Int64 { answeredAt - arrivedAt }
    }

    private struct State {
        var requests: [Request] = []
        var unanswered = 0
    }

    let organizations: [String]
    private let fleet: Fleet
    private let state = Mutex(State())
    private let generators = Mutex<[Task<Void, Never>]>([])

    /// Starts traffic.
    ///
    /// - Parameters:
    ///   - perSecond: requests a second at each server, spread evenly over the organizations.
    init(_ fleet: Fleet, organizations: [String], perSecond: Int) {
        self.fleet = fleet
        self.organizations = organizations
        for server in fleet.servers {
            let generator = Task { [weak self] in
                let start = fleet.clock.now()
                var sent = 0
                while !Task.isCancelled {
                    let elapsed = fleet.clock.now().nanoseconds - start.nanoseconds
                    let due = Int(Double(elapsed) / 1_000_000_000 * Double(perSecond))
                    // Requests that a stalled machine could not send in time are skipped, to avoid one large burst.
                    if due - sent > perSecond / 4 { sent = due - 1 }
                    while sent < due {
                        self?.ask(server, key: (sent &* 7919) % organizations.count)
                        sent += 1
                    }
                    try? await Task.sleep(for: .milliseconds(1))
                }
            }
            generators.withLock { $0.append(generator) }
        }
    }

    private func ask(_ server: Fleet.Server, key: Int) {
        let arrivedAt = fleet.clock.now()
        state.withLock { $0.unanswered += 1 }
        let clock = fleet.clock
        let decision = server.limiter.decide(organizations[key].utf8.span, now: arrivedAt) { [weak self] in
            self?.note($0, key: key, arrivedAt: arrivedAt, answeredAt: clock.now())
        }
        if let decision {
            note(decision, key: key, arrivedAt: arrivedAt, answeredAt: clock.now())
        }
    }

    private func note(_ decision: Decision, key: Int, arrivedAt: Instant, answeredAt: Instant) {
        let request = Request(
            key: key, arrivedAt: arrivedAt.nanoseconds, answeredAt: answeredAt.nanoseconds,
            decidedAt: decision.decidedAt.nanoseconds, outcome: decision.outcome)
        state.withLock { state in
            state.requests.append(request)
            state.unanswered -= 1
        }
    }

    /// How many requests have been answered so far.
    var count: Int { state.withLock { $0.requests.count } }

    /// The requests answered so far.
    var report: TrafficReport { TrafficReport(requests: state.withLock { $0.requests }, limit: fleet.limit) }

    /// Waits until a number of further requests have been answered.
    func goOn(for requests: Int) async throws {
        let goal = count + requests
        try await eventually("\(requests) more requests", within: 60) { count >= goal }
    }

    /// Stops sending, waits until every request is answered, and returns the report.
    func stop() async throws -> TrafficReport {
        generators.withLock { $0.forEach { $0.cancel() } }
        for generator in generators.withLock({ $0 }) { await generator.value }
        try await eventually("an answer to every request") { state.withLock { $0.unanswered == 0 } }
        return report
    }
}

/// The outcomes of some requests.
struct TrafficReport: Sendable {
    let requests: [Traffic.Request]
    let limit: Limit

    func filter(_ isIncluded: (Traffic.Request) -> Bool) -> TrafficReport {
        TrafficReport(requests: requests.filter(isIncluded), limit: limit)
    }

    /// The requests that arrived from one instant until another.
    func during(_ start: Instant, _ end: Instant) -> TrafficReport {
        filter { start.nanoseconds <= $0.arrivedAt && $0.arrivedAt < end.nanoseconds }
    }

    func count(_ outcome: Decision.Outcome) -> Int { requests.count { $0.outcome == outcome } }

    /// How long the slowest request waited, in milliseconds.
    var slowestMilliseconds: Double { Double(requests.map(\.waitedNanoseconds).max() ?? 0) / 1_000_000 }

    /// The 99th percentile of the waits, in milliseconds.
    var p99Milliseconds: Double {
        let waits = requests.map(\.waitedNanoseconds).sorted()
        return waits.isEmpty ? 0 : Double(waits[(waits.count - 1) * 99 / 100]) / 1_000_000
    }

    /// The highest over-admission relative to an ideal bucket, in whole tokens, by the index of the organization.
    ///
    /// A request counts at the instant of its decision.
    var overAdmission: [Int: Int] {
        var allowed: [Int: [Int64]] = [:]
        for request in requests where request.outcome == .allowed {
            allowed[request.key, default: []].append(request.decidedAt)
        }
        let perNanosecond = limit.refillPerSecond / 1_000_000_000
        return allowed.mapValues { instants in
            var (level, last, worst) = (Double(limit.capacity), Int64.min, 0.0)
            for instant in instants.sorted() {
                if last != .min { level = min(Double(limit.capacity), level + Double(instant - last) * perNanosecond) }
                (level, last) = (level - 1, instant)
                worst = min(worst, level)
            }
            // Redis counts time in whole milliseconds, on a different clock.
            return Int(-worst - limit.refillPerSecond / 1000)
        }
    }

    var peakOverAdmission: Int { overAdmission.values.max() ?? 0 }

    /// The outcomes, waits and over-admission in one line.
    var summary: String {
        let outcomes = Decision.Outcome.allCases.map { "\($0) \(count($0))" }.joined(separator: ", ")
        return "\(requests.count) requests: \(outcomes); slowest \(rounded(slowestMilliseconds)) ms, "
            + "p99 \(rounded(p99Milliseconds)) ms, over-admission \(peakOverAdmission)"
    }

    private func rounded(_ milliseconds: Double) -> Double { (milliseconds * 100).rounded() / 100 }
}
