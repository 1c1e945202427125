internal import Cistern
internal import CisternTesting
internal import Foundation
internal import NIOCore
internal import NIOPosix

/// Measures a fleet of real servers at a real Redis, with one choice of lease settings, once.
struct LeaseRun {
    /// What all choices are measured with.
    struct Settings: Sendable {
        var servers = 2
        var organizations = 10
        var skew = 0.0
        var limit = Limit.standard
        /// Load in multiples of what the buckets refill.
        var load = 1.2
        var connections = 64
        var spread = Spread.even
        var seconds = 5.0
        var warmUpSeconds = 2.0

        /// Requests a second, of all organizations at all servers.
        var ratePerSecond: Double { load * limit.refillPerSecond * Double(organizations) }
    }

    /// Which of the servers is asked.
    enum Spread: String, CaseIterable, Sendable {
        /// All alike.
        case even
        /// One at a time, for a second: what the others hold is stranded until it goes back.
        case moving
    }

    /// One choice.
    struct Choice: Sendable, Equatable {
        var horizonMilliseconds: Int64
        var durationMilliseconds: Int64

        var name: String {
            "horizon \(Self.written(horizonMilliseconds)), duration \(Self.written(durationMilliseconds))"
        }

        /// As flags of `cistern serve`; a lease is renewed no earlier than half of its horizon before it runs dry.
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
    private let clock = Timeline(ContinuousClock())

    init(_ settings: Settings) {
        self.settings = settings
        workload = Workload(
            organizations: settings.organizations, skew: settings.skew,
            turns: Workload.turns(for: settings.organizations)
        ).withAllMetered()
    }

    func run(_ choice: Choice) async throws -> PerfResult.Sample {
        let rig = try await Rig(
            stores: 1, server: .cistern(choice.flags), count: settings.servers,
            limits: Rig.Limits(metered: settings.limit, count: nil), threads: 1,
            connections: settings.connections)
        return try await withEventLoops(HTTPLoad.threads) { group in
            var plan = HTTPLoad.Plan(targets: rig.servers.map { HTTPTarget(host: "127.0.0.1", port: $0.port) })
            plan.connections = settings.connections
            plan.depth = 64
            plan.moves = settings.spread == .moving
            plan.ratePerSecond = settings.ratePerSecond
            let load = try await HTTPLoad(plan, workload: workload, loops: Array(group.makeIterator()), clock: clock)
            let subject = Measurement.Subject(
                deciders: rig.servers.map(\.process.processIdentifier), stores: rig.probe,
                commands: Baseline.script.commands)
            var holdings = Holdings(horizonSeconds: Double(choice.horizonMilliseconds) / 1000)
            let measurement = try await Measurement.take(
                of: load, subject: subject, warmUpSeconds: settings.warmUpSeconds, seconds: settings.seconds,
                clock: clock
            ) {
                try rig.checkAlive()
                holdings.note(
                    outstanding: try await rig.metric("cistern_outstanding_tokens"),
                    spent: try await rig.metric(#"cistern_lease_tokens_total{event="spent"}"#), now: clock.now())
            }
            var sample = measurement.sample(limit: settings.limit)
            let requests = measurement.tally.metered
            let admissible = IdealBucket.admissible(requests, limit: settings.limit)
            let admitted = requests.count(where: \.isAllowed)
            sample.values[.lostPercent] = Double(max(0, admissible - admitted)) / Double(max(1, admissible)) * 100
            sample.values[.outstandingTokens] = holdings.meanOutstanding
            sample.values[.strandedTokens] = holdings.meanStranded
            sample.values[.unmetered] = try await rig.unmetered()
            return sample
        }
    }
}

/// What servers hold, looked at again and again.
///
/// Stranded is what a server holds beyond what it spends in a horizon at the pace of the last moment: tokens that it does
/// not need yet, and others might.
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

    /// Takes in what each server holds, and what it has spent since its start.
    mutating func note(outstanding: [Double], spent: [Double], now: Instant) {
        outstandingSum += outstanding.reduce(0, +)
        outstandingCount += 1
        if let last, now > last.at {
            let seconds = Double(now.nanoseconds - last.at.nanoseconds) / 1e9
            for index in outstanding.indices {
                let needed = (spent[index] - last.spent[index]) / seconds * horizonSeconds
                strandedSum += max(0, outstanding[index] - needed)
            }
            strandedCount += 1
        }
        last = (spent, now)
    }

    /// Tokens that all servers together held, on average.
    var meanOutstanding: Double { outstandingSum / Double(max(1, outstandingCount)) }

    /// Of these, the stranded ones.
    var meanStranded: Double { strandedSum / Double(max(1, strandedCount)) }
}
