internal import Cistern
internal import CisternProcesses
internal import Foundation
internal import NIOCore
internal import NIOPosix

/// Measures several real servers with a real Redis and one choice of lease settings, once.
struct LeaseRun {
    /// The settings of all choices.
    struct Settings: Sendable {
        var servers = 2
        var organizations = 10
        var skew = 0.0
        var limit = Limit.standard
        /// Load in multiples of the buckets' refill.
        var load = 1.2
        var connections = 64
        var spread = Spread.even
        var seconds = 5.0
        var warmUpSeconds = 2.0

        /// Requests a second, of all organizations at all servers.
        var ratePerSecond: Double { load * limit.refillPerSecond * Double(organizations) }
    }

    /// Which servers get the requests.
    enum Spread: String, CaseIterable, Sendable {
        /// All servers equally.
        case even
        /// One server at a time, a second each; the tokens of the others are stranded until they are returned.
        case moving
    }

    /// One choice of lease settings.
    struct Choice: Sendable, Equatable {
        var horizonMilliseconds: Int64
        var durationMilliseconds: Int64

        var name: String {
            "horizon \(Self.written(horizonMilliseconds)), duration \(Self.written(durationMilliseconds))"
        }

        /// The flags of `cistern serve`.
        ///
        /// Prefetch is 20 ms, or half of the horizon if that is shorter.
        var flags: [String] {
            [
                "--lease-horizon", "\(horizonMilliseconds)ms", "--lease-duration", "\(durationMilliseconds)ms",
                "--lease-prefetch", "\(min(20, horizonMilliseconds / 2))ms",
            ]
        }

        static func written(_ milliseconds: Int64) -> String {
            milliseconds % 1000 == 0 ? "\(milliseconds / 1000) s" : "\(milliseconds) ms"
        }
    }

    let settings: Settings
    private let workload: Workload
    private let clock = ClockTimeSource(ContinuousClock())

    init(_ settings: Settings) {
        self.settings = settings
        workload = Workload(
            organizations: settings.organizations, skew: settings.skew,
            turns: Workload.turns(for: settings.organizations)
        ).withAllMetered()
    }

    func run(_ choice: Choice) async throws -> PerfResult.Sample {
        let fixture = try await BenchmarkFixture(
            stores: 1, server: .cistern(choice.flags), count: settings.servers,
            limits: BenchmarkFixture.Limits(metered: settings.limit, count: nil), threads: 1,
            connections: settings.connections)
        return try await withEventLoops(HTTPLoad.threads) { group in
            var plan = HTTPLoad.Plan(targets: fixture.servers.map { HTTPTarget(host: "127.0.0.1", port: $0.port) })
            plan.connections = settings.connections
            plan.depth = 64
            plan.moves = settings.spread == .moving
            plan.ratePerSecond = settings.ratePerSecond
            let load = try await HTTPLoad(plan, workload: workload, loops: Array(group.makeIterator()), clock: clock)
            let subject = Measurement.Subject(
                deciders: fixture.servers.map(\.process.processIdentifier), stores: fixture.probe,
                commands: Baseline.script.commands)
            var holdings = Holdings(horizonSeconds: Double(choice.horizonMilliseconds) / 1000)
            let measurement = try await Measurement.take(
                of: load, subject: subject, warmUpSeconds: settings.warmUpSeconds, seconds: settings.seconds,
                clock: clock
            ) {
                try fixture.checkAlive()
                holdings.note(
                    outstanding: try await fixture.metric("cistern_outstanding_tokens"),
                    spent: try await fixture.metric(#"cistern_lease_tokens_total{event="spent"}"#), now: clock.now())
            }
            var sample = measurement.sample(limit: settings.limit)
            let requests = measurement.tally.metered
            let admissible = IdealBucket.admissible(requests, limit: settings.limit)
            let admitted = requests.count(where: \.isAllowed)
            sample.values[.underAdmissionPercent] =
                Double(max(0, admissible - admitted)) / Double(max(1, admissible)) * 100
            sample.values[.outstandingTokens] = holdings.meanOutstanding
            sample.values[.strandedTokens] = holdings.meanStranded
            sample.values[.unmetered] = try await fixture.unmetered()
            return sample
        }
    }
}

/// The tokens that servers hold, sampled repeatedly.
///
/// A server's stranded tokens are those beyond what it spends in a horizon at its current rate: it does not need them
/// yet, and other servers may need them.
struct Holdings {
    private let horizonSeconds: Double
    private var last: (spent: [Double], at: Instant)?
    private var outstandingSum = 0.0
    private var strandedSum = 0.0
    private var outstandingCount = 0
    private var strandedCount = 0

    init(horizonSeconds: Double) {
        self.horizonSeconds = horizonSeconds
    }

    /// Adds a sample: the tokens that each server holds, and those that it has spent since its start.
    mutating func note(outstanding: [Double], spent: [Double], now: Instant) {
        outstandingSum += outstanding.reduce(0, +)
        outstandingCount += 1
        if let last, now > last.at {
            let seconds = Double(now.nanoseconds - last.at.nanoseconds) / 1e9
            for index in outstanding.indices {
                let spentPerHorizon = (spent[index] - last.spent[index]) / seconds * horizonSeconds
                strandedSum += max(0, outstanding[index] - spentPerHorizon)
            }
            strandedCount += 1
        }
        last = (spent, now)
    }

    /// Tokens that all servers together held, on average.
    var meanOutstanding: Double { outstandingSum / Double(max(1, outstandingCount)) }

    /// Stranded tokens of all servers together, on average.
    var meanStranded: Double { strandedSum / Double(max(1, strandedCount)) }
}
