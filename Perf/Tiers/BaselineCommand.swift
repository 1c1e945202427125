internal import ArgumentParser
internal import Cistern
internal import CisternHTTP
internal import CisternRedis
internal import CisternServer
internal import Foundation
internal import Logging
internal import NIOCore
internal import NIOPosix

/// The algorithms of the tiers without leases.
enum Baseline: String, CaseIterable, ExpressibleByArgument, Sendable {
    /// GET, GET, SET, SET.
    case reference
    /// One call of the atomic script.
    case script

    /// The Redis commands that count as its store calls.
    var commands: [String] {
        switch self {
        case .reference: ["get", "set"]
        case .script: ["evalsha", "eval"]
        }
    }

    /// The number of connections to each node.
    var connections: Int { self == .reference ? ReferenceLimiter.connections : 1 }

    /// Creates a limiter with this algorithm.
    ///
    /// - Parameters:
    ///   - stores: one for each of its ``connections``.
    ///   - loops: the event loops that call the limiter.
    func limiter(
        stores: [RedisStore], limits: Limits, loops: [any EventLoop], clock: any TimeSource
    ) -> any BaselineLimiter {
        switch self {
        case .reference: ReferenceLimiter(stores: stores, limits: limits, clock: clock)
        case .script: ScriptLimiter(store: stores[0], limits: limits, loops: loops, clock: clock)
        }
    }
}

/// The limiter of a tier without leases.
protocol BaselineLimiter: Decider {
    /// Requests admitted unmetered because Redis did not answer.
    var unmetered: Int { get }
}

/// `perf baseline-server`: the HTTP server of `cistern serve` with a baseline algorithm, started by the tiers.
struct BaselineCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "baseline-server", abstract: "Serve HTTP with an algorithm that has no leases.",
        shouldDisplay: false)

    @Option var limiter: Baseline
    @Option var redis: String
    @Option var limits: String
    @Option var threads = 1
    @Option var maxConnections: String

    func run() async throws {
        let settings = try ServerSettings(
            flags: ["redis": redis, "limits": limits, "port": "0", "maxConnections": maxConnections], environment: [:],
            configPath: nil)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
        let clock = ClockTimeSource(ContinuousClock())
        let endpoints = settings.redis?.endpoints ?? []
        let stores = try await Link.open(limiter.connections, to: endpoints, group: group, clock: clock)
        let decider = limiter.limiter(
            stores: stores, limits: settings.limits, loops: Array(group.makeIterator()), clock: clock)
        let server = HTTPServer(
            limiter: decider, settings: settings.http,
            clock: clock, unixMilliseconds: { Int64(Date().timeIntervalSince1970 * 1000) },
            statistics: HTTPServerStatistics(group: group),
            pages: HealthAndMetricsPages(
                health: { .init(text: "{}", contentType: "application/json") },
                metrics: {
                    .init(text: "\(BenchmarkFixture.unmeteredMetric) \(decider.unmetered)\n", contentType: "text/plain")
                }), group: group, logger: Logger(label: "cistern", factory: { _ in SwiftLogNoOpLogHandler() }))
        let port = try await server.start()
        FileHandle.standardOutput.write(Data("listening on http://127.0.0.1:\(port)\n".utf8))
        // Runs until the parent process ends it.
        while true { try await Task.sleep(for: .seconds(3600)) }
    }
}
