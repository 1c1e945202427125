internal import Cistern
internal import Foundation
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import NIOSSL
internal import Synchronization

/// One Redis node: keeps a connection to it for as long as it can be had, and carries lease requests over it.
///
/// What to do is decided by ``NodeHealth``; this is the shell that does it. Everything but `isUp` and the statistics
/// happens on one event loop.
final class RedisNode: Sendable {
    /// What lives on the event loop.
    private struct Loop {
        var health: NodeHealth
        var connection: RedisConnection?
        /// The digest by which the node knows the script.
        var scriptDigest: [UInt8] = []
        /// Made for the first connection; making it reads the trusted certificates.
        var tls: NIOSSLContext?
        var retry: Scheduled<Void>?
        var rejectionLog = LogThrottle()
    }

    /// What other threads may read.
    private struct Shared {
        var statistics = NodeStatistics()
        var reason: String?
    }

    let endpoint: RedisEndpoint
    private let settings: RedisSettings
    private let clock: any TimeSource
    private let logger: Logger
    private let eventLoop: any EventLoop
    private let loop: NIOLoopBoundBox<Loop>
    private let isUpFlag = Atomic(false)
    private let shared = Mutex(Shared())

    init(
        endpoint: RedisEndpoint, settings: RedisSettings, clock: any TimeSource, eventLoop: any EventLoop,
        logger: Logger
    ) {
        self.endpoint = endpoint
        self.settings = settings
        self.clock = clock
        self.eventLoop = eventLoop
        var logger = logger
        logger[metadataKey: "node"] = "\(endpoint.name)"
        self.logger = logger
        var backOff = NodeHealth.BackOff()
        backOff.firstMilliseconds = settings.firstRetryMilliseconds
        backOff.longestMilliseconds = settings.longestRetryMilliseconds
        loop = .makeBoxSendingValue(Loop(health: NodeHealth(backOff: backOff)), eventLoop: eventLoop)
    }

    /// Whether requests are sent to the node now.
    ///
    /// Any thread may ask.
    var isUp: Bool { isUpFlag.load(ordering: .relaxed) }

    /// What is known of the node now.
    ///
    /// Any thread may ask.
    var report: NodeReport {
        shared.withLock { NodeReport(name: endpoint.name, isUp: isUp, reason: $0.reason, statistics: $0.statistics) }
    }

    // MARK: Life

    /// Starts connecting, and returns once the first attempt has succeeded or failed.
    func start() async {
        await withCheckedContinuation { continuation in
            eventLoop.execute { self.probe { continuation.resume() } }
        }
    }

    /// Closes the connection for good.
    func stop() async {
        await withCheckedContinuation { continuation in
            eventLoop.execute {
                self.loop.value.health.stop()
                self.loop.value.retry?.cancel()
                self.isUpFlag.store(false, ordering: .relaxed)
                self.loop.value.connection?.close("the server is stopping")
                self.loop.value.connection = nil
                continuation.resume()
            }
        }
    }

    private func probe(whenDone: @escaping @Sendable () -> Void = {}) {
        guard loop.value.health.probe() else { return whenDone() }
        let timeout = TimeAmount.milliseconds(settings.connectTimeoutMilliseconds)
        let deadline = eventLoop.now + timeout
        let connected = ClientBootstrap(group: eventLoop)
            .connectTimeout(timeout)
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try self.addHandlers(to: channel) }
            }
            .connect(host: endpoint.host, port: endpoint.port)
        connected.whenComplete { result in
            switch result {
            case .success(let channel):
                // Of a host with several addresses more than one may have been tried: this is the one that answered.
                self.loop.value.connection =
                    try? channel.pipeline.syncOperations.handler(type: RedisConnection.self)
                self.logIn(deadline: deadline, whenDone: whenDone)
            case .failure(let error):
                self.fail(Self.words(for: error))
                whenDone()
            }
        }
    }

    private func addHandlers(to channel: any Channel) throws {
        if endpoint.usesTLS {
            let isAddress = (try? SocketAddress(ipAddress: endpoint.host, port: endpoint.port)) != nil
            let handler = try NIOSSLClientHandler(
                context: tlsContext(), serverHostname: isAddress ? nil : endpoint.host)
            try channel.pipeline.syncOperations.addHandler(handler)
        }
        let connection = RedisConnection(maximumPending: settings.maximumPendingRequests) {
            [weak self] ended, reason in
            if self?.loop.value.connection === ended { self?.fail(reason) }
        }
        try channel.pipeline.syncOperations.addHandler(connection)
    }

    private func tlsContext() throws -> NIOSSLContext {
        if let context = loop.value.tls { return context }
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.trustRoots = settings.trustRoots
        let context = try NIOSSLContext(configuration: configuration)
        loop.value.tls = context
        return context
    }

    /// Authenticates, chooses the database, tries whether writes are taken, and loads the script, all in one flight.
    ///
    /// The node is up once it has told the script's digest.
    private func logIn(deadline: NIODeadline, whenDone: @escaping @Sendable () -> Void) {
        guard let connection = loop.value.connection else {
            fail("the connection was lost")
            return whenDone()
        }
        guard loop.value.health.state == .probing else {
            connection.close("the server is stopping")
            return whenDone()
        }
        if let password = endpoint.password {
            let credentials = [endpoint.username, password].compactMap { $0 }
            expectNoError(connection, ["AUTH"] + credentials, deadline: deadline)
        }
        if endpoint.database != 0 {
            expectNoError(connection, ["SELECT", "\(endpoint.database)"], deadline: deadline)
        }
        // With XX this writes nothing, since the key never exists; but a replica, a full node and one that cannot
        // persist refuse it as they would refuse the script.
        expectNoError(connection, ["SET", "ratelimit:probe", "1", "XX"], deadline: deadline)
        connection.send(Self.command(["SCRIPT", "LOAD", LeaseScript.source]), deadline: deadline) { result in
            switch result {
            case .success(.string(let digest)): self.becomeUp(digest)
            case .success(.error(let message)): connection.close(message)
            case .success(let other): connection.close("unexpected answer to SCRIPT LOAD: \(other)")
            // Nothing new where the connection has told why it ended.
            case .failure(let failure): self.fail("\(failure)")
            }
            whenDone()
        }
    }

    private func expectNoError(_ connection: RedisConnection, _ words: [String], deadline: NIODeadline) {
        connection.send(Self.command(words), deadline: deadline) { result in
            if case .success(.error(let message)) = result { connection.close(message) }
        }
    }

    private static func command(_ words: [String]) -> [[UInt8]] {
        words.map { Array($0.utf8) }
    }

    private func becomeUp(_ digest: [UInt8]) {
        guard let isNews = loop.value.health.succeed() else { return }
        loop.value.scriptDigest = digest
        shared.withLock { $0.reason = nil }
        isUpFlag.store(true, ordering: .relaxed)
        if isNews { logger.notice("Redis node is up; decisions are metered") }
    }

    private func fail(_ reason: String) {
        let action = loop.value.health.fail(reason, jitter: Double.random(in: 0...1))
        guard let action else { return }
        isUpFlag.store(false, ordering: .relaxed)
        loop.value.connection?.close(reason)
        loop.value.connection = nil
        shared.withLock { $0.reason = reason }
        if action.isNews {
            logger.warning("Redis node is down; the failure policy decides", metadata: ["reason": "\(reason)"])
        }
        loop.value.retry = eventLoop.scheduleTask(in: .milliseconds(action.retryAfterMilliseconds)) { self.probe() }
    }

    private static func words(for error: any Error) -> String {
        switch error {
        case let error as NIOConnectionError:
            if let first = error.connectionErrors.first { return words(for: first.error) }
            return "cannot resolve \(error.host)"
        case let error as IOError: return String(cString: strerror(error.errnoCode))
        case ChannelError.connectTimeout: return "no connection within the connect timeout"
        default: return "\(error)"
        }
    }

    // MARK: Requests

    /// Carries one lease request.
    ///
    /// Any thread may call; `reply` is called on the node's event loop or before this returns.
    func lease(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        guard isUp else { return finish(request, .failure(.unreachable), reply) }
        if eventLoop.inEventLoop {
            send(request, reply)
        } else {
            eventLoop.execute { self.send(request, reply) }
        }
    }

    private typealias Reply = @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void

    private func send(_ request: LeaseRequest, _ reply: @escaping Reply) {
        guard isUp, let connection = loop.value.connection else {
            return finish(request, .failure(.unreachable), reply)
        }
        let remaining = request.deadline.nanoseconds - clock.now().nanoseconds
        // One that has waited too long already says nothing about the node.
        guard remaining > 0 else { return finish(request, .failure(.timedOut), reply) }
        let deadline = eventLoop.now + .nanoseconds(remaining)
        let arguments = LeaseScript.arguments(of: request)
        let keyCount = Array("\(LeaseScript.keyCount)".utf8)
        let byDigest = [Array("EVALSHA".utf8), loop.value.scriptDigest, keyCount] + arguments
        connection.send(byDigest, deadline: deadline) { result in
            guard case .success(.error(let message)) = result, message.hasPrefix("NOSCRIPT") else {
                return self.finish(request, self.grant(from: result, connection), reply)
            }
            // Somebody has emptied the node's script cache; EVAL runs the script and fills it again.
            let bySource = [Array("EVAL".utf8), Array(LeaseScript.source.utf8), keyCount] + arguments
            connection.send(bySource, deadline: deadline) { result in
                self.finish(request, self.grant(from: result, connection), reply)
            }
        }
    }

    private func grant(
        from result: Result<RESPValue, RedisConnection.Failure>, _ connection: RedisConnection
    ) -> Result<Grant, LeaseFailure> {
        switch result {
        case .failure(.timedOut): return .failure(.timedOut)
        case .failure(.closed): return .failure(.unreachable)
        case .failure(.overloaded): return .failure(.overloaded)
        case .success(.error(let message)):
            if Self.isAboutTheNode(message) {
                connection.close(message)
            } else {
                logRejection(message)
            }
            return .failure(.rejected(message))
        case .success(let value):
            if let grant = LeaseScript.grant(from: value) {
                if loop.value.health.serve() { logger.notice("Redis node is up; decisions are metered") }
                return .success(grant)
            }
            connection.close("unexpected answer to the lease script: \(value)")
            return .failure(.rejected("unexpected answer"))
        }
    }

    private func finish(_ request: LeaseRequest, _ result: Result<Grant, LeaseFailure>, _ reply: Reply) {
        let now = clock.now()
        shared.withLock { $0.statistics.count(request, result, now: now) }
        reply(result, now)
    }

    /// Whether an error says something of the node rather than of one organisation's keys.
    ///
    /// Such a node is left alone until it has recovered.
    static func isAboutTheNode(_ message: String) -> Bool {
        // Before Redis 7 an error inside a script is wrapped: "ERR Error running script (…): …: -READONLY …".
        if message.hasPrefix("ERR Error running script") {
            return nodeErrors.contains { message.contains("-\($0) ") }
        }
        return nodeErrors.contains(String(message.prefix { $0 != " " }))
    }

    private static let nodeErrors: Set<String> = [
        "LOADING", "READONLY", "OOM", "MASTERDOWN", "NOAUTH", "WRONGPASS", "NOPERM", "MISCONF", "NOREPLICAS",
        "CLUSTERDOWN", "MOVED", "BUSY",
    ]

    private func logRejection(_ reason: String) {
        guard let suppressed = loop.value.rejectionLog.permit(now: clock.now()) else { return }
        logger.error(
            "Redis rejected a lease request", metadata: ["reason": "\(reason)", "suppressed": "\(suppressed)"])
    }
}
