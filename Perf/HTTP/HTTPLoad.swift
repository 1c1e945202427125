internal import Cistern
internal import Foundation
internal import NIOCore
internal import NIOPosix

/// A load over HTTP, on connections that stay open.
///
/// A *closed loop* sends a request as soon as one is answered. An *open loop* sends at a fixed rate regardless of the
/// server. It counts latency from the scheduled time of each request, so the wait for a free connection is included.
final class HTTPLoad: Load {
    /// Where and how requests are sent.
    struct Plan: Sendable {
        /// The servers; connections are spread over them evenly.
        var targets: [HTTPTarget]
        var connections = 64
        /// Additional connections that stay open and send nothing.
        var idleConnections = 0
        /// The maximum number of requests in flight per connection.
        var depth = 1
        /// Whether an open loop sends all requests to one server at a time, and to the next one each second.
        var moves = false
        /// Requests per second, over all connections; nil for a closed loop.
        var ratePerSecond: Double?
    }

    let phase = LoadPhase()
    let isOpenLoop: Bool
    /// The number of threads that send requests: half of the cores.
    static var threads: Int { max(1, ProcessInfo.processInfo.activeProcessorCount / 2) }

    private let parts: LoadParts<HTTPLoadPart>

    /// Opens the connections.
    ///
    /// - Throws: `PerfError` if a connection cannot be opened.
    init(_ plan: Plan, workload: Workload, loops: [any EventLoop], clock: any TimeSource) async throws {
        isOpenLoop = plan.ratePerSecond != nil
        let phase = phase
        parts = try await LoadParts(on: loops) { number, loop in
            HTTPLoadPart(
                loop: loop, workload: workload, phase: phase, clock: clock, depth: plan.depth,
                ratePerSecond: plan.ratePerSecond.map { $0 / Double(loops.count) },
                rotatingServerCount: plan.moves ? plan.targets.count : 1,
                firstTurn: number * workload.turns.count / loops.count)
        }
        for index in 0..<plan.connections {
            let (loop, part) = parts[index]
            // Every loop has connections to every server.
            let server = index / loops.count % plan.targets.count
            let target = plan.targets[server]
            let channel = try await Self.connect(to: target, loop: loop) { channel in
                try channel.pipeline.syncOperations.addHandler(
                    HTTPLoadConnection(target, server: server, part: part.value))
            }
            // For a host name with several addresses, several channels may have been tried; this one is connected.
            try await channel.eventLoop.submit {
                let connection = try channel.pipeline.syncOperations.handler(type: HTTPLoadConnection.self)
                part.value.connections.append(connection)
            }.get()
        }
        // Idle connections end with their event loops.
        for index in 0..<plan.idleConnections {
            _ = try await Self.connect(
                to: plan.targets[index % plan.targets.count], loop: loops[index % loops.count], prepare: { _ in })
        }
    }

    private static func connect(
        to target: HTTPTarget, loop: any EventLoop, prepare: @escaping @Sendable (any Channel) throws -> Void
    ) async throws -> any Channel {
        do {
            return try await ClientBootstrap(group: loop)
                .connectTimeout(.seconds(5))
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelInitializer { channel in channel.eventLoop.makeCompletedFuture { try prepare(channel) } }
                .connect(host: target.host, port: target.port)
                .get()
        } catch {
            let remedy =
                switch (error as? IOError)?.errnoCode {
                case EMFILE: "too many open files: raise the limit with 'ulimit -n', or use fewer --connections"
                case EADDRNOTAVAIL: "this machine has no more ports for connections to it: use fewer --connections"
                default: "is a server listening there? (\(error))"
                }
            throw PerfError("cannot connect to \(target): \(remedy)", .unavailable)
        }
    }

    func start() {
        parts.start()
    }

    func finish(countingAll: Bool) async throws -> LoadTally {
        phase.turn(to: countingAll ? .ending : .over)
        return try await parts.sum()
    }
}

/// The server and path that requests go to.
struct HTTPTarget: Sendable, Equatable, CustomStringConvertible {
    let host: String
    let port: Int
    var path = "/chat"

    var description: String { "http://\(authority)\(path)" }

    /// Host and port, as in a URL and in the Host header.
    private var authority: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    private static let body = #"{"message":"hello"}"#

    /// A request's bytes up to the organization's name.
    var head: [UInt8] {
        Array("POST \(path) HTTP/1.1\r\nHost: \(authority)\r\nx-org-id: ".utf8)
    }

    /// A request's bytes after the organization's name.
    static let rest = Array(
        """
        \r\nx-user-id: u\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)
        """.utf8)
}
