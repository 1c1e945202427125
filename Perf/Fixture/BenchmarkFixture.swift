internal import Cistern
internal import CisternProcesses
internal import Foundation
internal import Logging
internal import NIOCore
internal import NIOPosix

/// The Redis servers and rate limit servers that a benchmark starts, on free ports of 127.0.0.1; they end with it.
final class BenchmarkFixture {
    let stores: [RedisServer]
    let servers: [ListeningProcess]
    let probe: StoreProbe?
    private let folder: TemporaryDirectory?

    /// The limits of a workload: practically unlimited, except for metered organizations.
    struct Limits {
        /// The limit of the metered organizations.
        let metered: Cistern.Limit
        /// The number of metered organizations, from the first name on; nil for all.
        let count: Int?

        var asLimits: Cistern.Limits {
            guard let count else { return Cistern.Limits(standard: metered) }
            let names = (0..<count).map { String(decoding: Workload.name($0), as: UTF8.self) }
            return Cistern.Limits(
                standard: BenchmarkFixture.unlimited,
                byKey: Dictionary(uniqueKeysWithValues: names.map { ($0, metered) }))
        }

        /// The same limits as the text of a limits file.
        var text: String {
            func written(_ limit: Cistern.Limit) -> String {
                "{capacity: \(limit.capacity), refill: \(limit.refill)}"
            }
            let names = (0..<(count ?? 0)).map { String(decoding: Workload.name($0), as: UTF8.self) }
            let own = names.map { "  \($0): \(written(metered))\n" }.joined()
            return "default: \(written(count == nil ? metered : BenchmarkFixture.unlimited))\n"
                + (own.isEmpty ? "" : "organizations:\n\(own)")
        }
    }

    /// The kind of server to start; its port, Redis and limits are given separately.
    enum Server {
        /// `cistern serve` with these flags.
        case cistern([String])
        case baseline(Baseline)
    }

    /// A limit that no load reaches: 10^9 tokens, and 10^8 per second.
    static let unlimited: Cistern.Limit = {
        guard let limit = try? Cistern.Limit(capacity: 1_000_000_000, refillPerSecond: 100_000_000) else {
            preconditionFailure("the limit is out of bounds")
        }
        return limit
    }()

    /// Starts the Redis servers, then the rate limit servers.
    ///
    /// - Parameters:
    ///   - server: the kind of server; nil if this process makes the decisions.
    ///   - count: the number of servers.
    ///   - port: the port of the first server; by default, a free one.
    ///   - connections: the number of connections that each server must accept.
    init(
        stores storeCount: Int, server: Server?, count: Int = 1, port: Int = 0, limits: Limits, threads: Int,
        connections: Int = 0
    ) async throws {
        do {
            var stores: [RedisServer] = []
            for _ in 0..<storeCount { stores.append(try await RedisServer()) }
            self.stores = stores
            probe = stores.isEmpty ? nil : try StoreProbe(stores)
            guard let server else {
                (servers, folder) = ([], nil)
                return
            }
            let folder = try TemporaryDirectory()
            let file = "\(folder.path)/limits.yaml"
            try limits.text.write(toFile: file, atomically: true, encoding: .utf8)
            var servers: [ListeningProcess] = []
            for index in 0..<count {
                var arguments = [
                    "--threads", "\(threads)", "--limits", file, "--max-connections",
                    "\(max(10_000, connections + 100))",
                ]
                if !stores.isEmpty { arguments += ["--redis", stores.map(\.url).joined(separator: ",")] }
                let program: String
                switch server {
                case .cistern(let flags):
                    program = BuiltProduct.path("cistern")
                    let chosen = index == 0 ? port : 0
                    arguments =
                        ["serve", "--port", "\(chosen)", "--admin-port", "off", "--log-level", "error"] + arguments
                        + flags
                case .baseline(let baseline):
                    program = BuiltProduct.path("perf")
                    arguments = ["baseline-server", "--limiter", baseline.rawValue] + arguments
                }
                servers.append(try await ListeningProcess(program, arguments))
            }
            self.servers = servers
            self.folder = folder
        } catch let failure as ChildProcess.Failure {
            throw PerfError(failure.description, .unavailable)
        } catch let failure as Socket.Failure {
            throw PerfError(failure.description, .unavailable)
        }
    }

    /// Ends the run if a required process has ended.
    func checkAlive() throws(PerfError) {
        for (name, process) in servers.map({ ("the server", $0.process) })
            + stores.map({ ("redis-server", $0.process) })
        where !process.isRunning {
            throw PerfError(
                "\(name) ended in the middle of the run; it wrote:\n\(process.text.suffix(2000))", .unavailable)
        }
    }

    /// Returns the number of requests that the servers admitted unmetered; responses do not show this.
    func unmetered() async throws -> Double {
        try await metric(Self.unmeteredMetric).reduce(0, +)
    }

    static let unmeteredMetric = #"cistern_decisions_total{outcome="unmetered"}"#

    /// The value of a metric at each of the servers.
    func metric(_ name: String) async throws -> [Double] {
        try checkAlive()
        return try servers.map { server in
            let reply = try Socket(port: server.port).exchange(HTTPRequestText.plain("GET", "/metrics"))
            let line = reply.body.split(separator: "\n").first { $0.hasPrefix(name + " ") }
            guard let value = line.flatMap({ Double($0.dropFirst(name.utf8.count + 1)) }) else {
                throw PerfError("the server at port \(server.port) has no metric \(name)", .unavailable)
            }
            return value
        }
    }
}

extension Logger {
    /// A logger that discards everything: a benchmark ends its Redis servers while still connected to them.
    static let silent = Logger(label: "perf") { _ in SwiftLogNoOpLogHandler() }
}

/// Runs `body` with event loops, and shuts them down afterwards.
func withEventLoops<Result>(
    _ count: Int, _ body: (MultiThreadedEventLoopGroup) async throws -> Result
) async throws -> Result {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: count)
    do {
        let result = try await body(group)
        try await group.shutdownGracefully()
        return result
    } catch {
        try? await group.shutdownGracefully()
        throw error
    }
}
