internal import Cistern
internal import CisternProcesses
internal import CisternRedis
internal import Foundation
internal import NIOCore
internal import NIOPosix

/// Measures one tier through one interface, once.
struct TierRun {
    /// The settings of all tiers.
    struct Settings: Sendable {
        var organizations = 100
        var skew = 0.0
        /// Requests in flight through the library, for each node.
        var depth = 256
        /// Connections through HTTP.
        var connections = 64
        /// Threads that make decisions.
        var threads = 1
        var seconds = 4.0
        var warmUpSeconds = 1.0
        /// The fraction of requests for organizations that exceed their limit, so that over-admission can be measured.
        var meteredShare = 1.0 / 32

        /// The number of organizations that exceed their limit.
        static let metered = 4
        /// The limit of the organizations that exceed it.
        static let meteredLimit = Limit.standard

        /// A short run that only checks counts, on a machine that may be slow and busy.
        static let smoke: Settings = {
            var settings = Settings()
            settings.organizations = 4
            settings.depth = 64
            settings.warmUpSeconds = 0
            settings.meteredShare = 0.5
            return settings
        }()
    }

    let settings: Settings
    private let clock = ClockTimeSource(ContinuousClock())
    private let workload: Workload
    private let limits = BenchmarkFixture.Limits(metered: Settings.meteredLimit, count: Settings.metered)

    init(_ settings: Settings) {
        self.settings = settings
        workload = Workload(
            organizations: settings.organizations, skew: settings.skew, metered: Settings.metered,
            meteredShare: settings.meteredShare, turns: Workload.turns(for: settings.organizations))
    }

    func run(_ tier: Tier, _ interface: Tier.Interface) async throws -> PerfResult.Sample {
        switch interface {
        case .library: try await runLibrary(tier)
        case .http: try await runHTTP(tier)
        }
    }

    private func runLibrary(_ tier: Tier) async throws -> PerfResult.Sample {
        let fixture = try await BenchmarkFixture(
            stores: tier.nodes, server: nil, limits: limits, threads: settings.threads)
        return try await withEventLoops(settings.threads) { group in
            let endpoints = try fixture.stores.map { try RedisEndpoint(url: $0.url) }
            let count = tier.baseline?.connections ?? 1
            let stores = try await Link.open(count, to: endpoints, group: group, clock: clock)
            let limits = limits.asLimits
            let loops = Array(group.makeIterator()).map { $0 as any EventLoop }
            let decider: any Decider =
                tier.baseline?.limiter(stores: stores, limits: limits, loops: loops, clock: clock)
                ?? Self.limiter(store: stores[0], limits: limits)
            let depth = max(1, (tier.baseline == .reference ? count : tier.nodes * settings.depth) / loops.count)
            let load = try await LibraryLoad(
                loops: loops, decider: decider, workload: workload, depth: depth, clock: clock,
                decidesRemotely: tier.baseline != nil)
            let measurement: Measurement
            do {
                measurement = try await measure(load, of: tier, fixture: fixture, deciders: [getpid()])
            } catch {
                for store in stores { await store.stop() }
                throw error
            }
            for store in stores { await store.stop() }
            return measurement.sample(limit: Settings.meteredLimit, correctedFor: depth * loops.count)
        }
    }

    private static func limiter(store: RedisStore, limits: Limits) -> RateLimiterEngine {
        var settings = LimiterSettings()
        settings.lease.timeoutMilliseconds = 1000
        return RateLimiterEngine(
            limits: limits, store: store, lesseeID: store.serverName, settings: settings, seed: .random(in: 0 ... .max))
    }

    private func runHTTP(_ tier: Tier) async throws -> PerfResult.Sample {
        let server: BenchmarkFixture.Server =
            tier.baseline.map { .baseline($0) } ?? .cistern(["--store-timeout", "1s"])
        let fixture = try await BenchmarkFixture(
            stores: tier.nodes, server: server, limits: limits, threads: settings.threads,
            connections: settings.connections)
        return try await withEventLoops(HTTPLoad.threads) { group in
            let plan = HTTPLoad.Plan(
                targets: fixture.servers.map { HTTPTarget(host: "127.0.0.1", port: $0.port) },
                connections: settings.connections)
            let load = try await HTTPLoad(plan, workload: workload, loops: Array(group.makeIterator()), clock: clock)
            let deciders = fixture.servers.map(\.process.processIdentifier)
            let measurement = try await measure(load, of: tier, fixture: fixture, deciders: deciders)
            var sample = measurement.sample(limit: Settings.meteredLimit, correctedFor: settings.connections)
            sample.values[.unmetered] = try await fixture.unmetered()
            return sample
        }
    }

    private func measure(
        _ load: some Load, of tier: Tier, fixture: BenchmarkFixture, deciders: [Int32]
    ) async throws -> Measurement {
        let subject = Measurement.Subject(deciders: deciders, stores: fixture.probe, commands: tier.commands)
        return try await Measurement.take(
            of: load, subject: subject, warmUpSeconds: settings.warmUpSeconds, seconds: settings.seconds, clock: clock
        ) { try fixture.checkAlive() }
    }
}
