internal import Cistern
internal import CisternProcesses
internal import Foundation
internal import NIOCore
internal import NIOPosix

/// Measures one server over HTTP, once.
struct HTTPRun {
    struct Settings: Sendable {
        var workload: Workload
        /// A running server; nil to start one.
        var target: HTTPTarget?
        /// Requests a second; nil for a closed loop.
        var rate: Double?
        var depth = 1
        var connections = 64
        /// Additional connections that stay open and send nothing.
        var idleConnections = 0
        var nodes = 0
        var port = 0
        var threads = 1
        /// The limit of every organization; nil if it is not reached or not known.
        var limit: Limit?
        var seconds = 5.0
        var warmUpSeconds = 1.0
    }

    let settings: Settings
    private let workload: Workload
    private let clock = ClockTimeSource(ContinuousClock())

    init(_ settings: Settings) {
        self.settings = settings
        workload = settings.limit == nil ? settings.workload : settings.workload.withAllMetered()
    }

    func run() async throws -> PerfResult.Sample {
        let limits = BenchmarkFixture.Limits(metered: settings.limit ?? BenchmarkFixture.unlimited, count: nil)
        let isStarted = settings.target == nil
        let fixture = try await BenchmarkFixture(
            stores: settings.nodes, server: isStarted ? .cistern(["--store-timeout", "1s"]) : nil, port: settings.port,
            limits: limits, threads: settings.threads, connections: settings.connections + settings.idleConnections)
        let target = settings.target ?? HTTPTarget(host: "127.0.0.1", port: fixture.servers[0].port)
        return try await withEventLoops(HTTPLoad.threads) { group in
            var plan = HTTPLoad.Plan(targets: [target])
            plan.connections = settings.connections
            plan.idleConnections = settings.idleConnections
            plan.depth = settings.depth
            plan.ratePerSecond = settings.rate
            let load = try await HTTPLoad(plan, workload: workload, loops: Array(group.makeIterator()), clock: clock)
            let subject = Measurement.Subject(
                deciders: fixture.servers.map(\.process.processIdentifier), stores: fixture.probe,
                commands: Baseline.script.commands)
            let measurement = try await Measurement.take(
                of: load, subject: subject, warmUpSeconds: settings.warmUpSeconds, seconds: settings.seconds,
                clock: clock
            ) { try fixture.checkAlive() }
            let inFlight = settings.connections * settings.depth
            var sample = measurement.sample(
                limit: settings.limit, correctedFor: settings.rate == nil ? inFlight : nil)
            sample.values[.unmetered] = isStarted ? try await fixture.unmetered() : nil
            return sample
        }
    }
}
