internal import Cistern
internal import CisternCluster
internal import CisternSupport
internal import Foundation
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import NIOSSL
internal import Synchronization

/// One Redis node: maintains a connection to it and sends commands over it.
///
/// ``NodeHealth`` decides when to connect and when to use the node; this class carries that out. All state belongs to
/// one event loop, except for what other threads may read. For login see `RedisNode+Login.swift`, for lease requests
/// `RedisNode+Lease.swift`.
final class RedisNode: Sendable {
    /// The node's role in its store, as the owning ring or cluster defines it.
    struct Role: Sendable {
        /// Whether the node belongs to a Redis Cluster, and may redirect requests.
        var isClustered = false
        /// Returns a Redis key for write probes, or nil if the node stores no keys.
        var probeKey: @Sendable () -> [UInt8]?
        /// For a Redis Cluster: whether a slot map belongs to the known cluster.
        var belongs: @Sendable (SlotMap) -> Bool = { _ in true }
        /// This server's local fraction at this node; nil if there is none.
        var fraction: NodeFraction?
        /// Whether requests to the node ramp up even if it has not failed before.
        var startsSlowly = false
        /// Called on the event loop when the node comes into use and when it is lost.
        var changed: @Sendable (_ node: RedisNode, _ isUp: Bool) -> Void = { _, _ in }
    }

    /// State that only the event loop may access.
    struct LoopState {
        var health: NodeHealth
        var ramp: RecoveryRamp
        var connection: RedisConnection?
        /// The script's digest, as the node returned it.
        var scriptDigest: [UInt8] = []
        var retry: Scheduled<Void>?
        var heartbeat: RepeatedTask?
        var rejectionLog = LogThrottle()
        /// Rejections since the last grant, not counting errors that name a node failure.
        var rejections = 0
        /// The node's `maxmemory-policy` at the last login, so that a warning is not repeated.
        var evictionPolicy = ""
        /// Throttles log lines about buckets that the script repaired.
        var repairLog = LogThrottle()
    }

    /// State that any thread may access.
    struct Shared {
        var statistics = NodeStatistics()
        /// Throttles log lines about requests that the failure policy decides while the node is in use.
        var policyLog = LogThrottle()
        var nodeFailure: NodeFailure?
        /// The Redis version as scripts see it, 0x070000 for 7.0; 0 before Redis 7.0 and if it was not requested.
        var version: Int64 = 0
    }

    let endpoint: RedisEndpoint
    let settings: RedisSettings
    let names: KeyNames
    let clockDriftPerMille: Int64
    let role: Role
    let clock: any TimeSource
    let logger: Logger
    let eventLoop: any EventLoop
    let loop: NIOLoopBoundBox<LoopState>
    private let isUpFlag = Atomic(false)
    let shared: Mutex<Shared>
    /// Nil for a connection without TLS.
    private let certificates: LinkCertificates?

    /// Creates a node, which is inactive before ``start()``.
    init(endpoint: RedisEndpoint, context: StoreContext, role: Role) {
        self.endpoint = endpoint
        self.role = role
        settings = context.settings
        names = context.names
        clockDriftPerMille = context.clockDriftPerMille
        clock = context.clock
        eventLoop = context.eventLoopGroup.next()
        var logger = context.logger
        logger[metadataKey: "node"] = "\(endpoint.name)"
        self.logger = logger
        self.certificates = endpoint.usesTLS ? context.certificates : nil
        var backOff = NodeHealth.BackOff()
        backOff.firstMilliseconds = settings.firstRetryMilliseconds
        backOff.longestMilliseconds = settings.longestRetryMilliseconds
        shared = Mutex(Shared())
        loop = .makeBoxSendingValue(
            LoopState(
                health: NodeHealth(backOff: backOff),
                ramp: RecoveryRamp(first: settings.firstRequestsAfterRecovery)),
            eventLoop: eventLoop)
    }

    /// Whether requests are sent to the node now; any thread may read it.
    var isUp: Bool { isUpFlag.load(ordering: .relaxed) }

    /// The current state of the node; any thread may read it.
    var report: NodeReport {
        shared.withLock {
            NodeReport(name: endpoint.name, isUp: isUp, nodeFailure: $0.nodeFailure, statistics: $0.statistics)
        }
    }

    /// Whether the first connection attempt has succeeded or failed; any thread may read it.
    var hasBeenTried: Bool { isUp || shared.withLock { $0.nodeFailure != nil } }

    /// Whether the node sends `ASK` only if it has none of the requested Redis keys; true from Redis 7 on.
    ///
    /// Any thread may read it.
    var sendsAskOnlyWithoutKeys: Bool { shared.withLock { $0.version >= 0x070000 } }

    // MARK: Lifecycle

    /// Starts connecting; returns once the first attempt has succeeded or failed.
    func start() async {
        await withCheckedContinuation { continuation in
            begin { continuation.resume() }
        }
    }

    /// Starts connecting.
    ///
    /// Any thread may call it. `whenDone` is called on the event loop once the first attempt has succeeded or failed.
    func begin(whenDone: @escaping @Sendable () -> Void = {}) {
        eventLoop.execute { self.probe(whenDone: whenDone) }
    }

    /// Accepts no more requests, and closes the connection permanently once pending requests are answered or late.
    func stop() async {
        await withCheckedContinuation { continuation in
            end { continuation.resume() }
        }
    }

    /// Does the same as ``stop()``; any thread may call it.
    ///
    /// - Parameter isReplaced: whether another connection to the same node takes over, including the local fraction.
    /// - Parameter whenDone: called on the event loop once no more requests are accepted.
    func end(isReplaced: Bool = false, whenDone: @escaping @Sendable () -> Void = {}) {
        eventLoop.execute {
            self.loop.value.health.stop()
            self.loop.value.retry?.cancel()
            self.loop.value.heartbeat?.cancel()
            guard !isReplaced else { return self.finish(isReplaced: true, whenDone) }
            self.releaseFraction { self.finish(isReplaced: false, whenDone) }
        }
    }

    private func finish(isReplaced: Bool, _ whenDone: () -> Void) {
        let nodeFailure = NodeFailure(.stopped, "the server is stopping or no longer uses this node")
        publishState(false, nodeFailure: nodeFailure, keepsFraction: isReplaced)
        loop.value.connection?.finish(nodeFailure)
        loop.value.connection = nil
        whenDone()
    }

    private func probe(whenDone: @escaping @Sendable () -> Void = {}) {
        guard loop.value.health.probe() else { return whenDone() }
        let timeout = TimeAmount.milliseconds(settings.connectTimeoutMilliseconds)
        let deadline = eventLoop.now + timeout
        let connected = ClientBootstrap(group: eventLoop)
            .connectTimeout(timeout)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try self.addHandlers(to: channel) }
            }
            .connect(host: endpoint.host, port: endpoint.port)
        connected.whenComplete { result in
            switch result {
            case .success(let channel):
                // If the host has several addresses, several connections may have been tried: this one succeeded.
                self.loop.value.connection =
                    try? channel.pipeline.syncOperations.handler(type: RedisConnection.self)
                self.logIn(deadline: deadline, whenDone: whenDone)
            case .failure(let error):
                self.fail(NodeFailure(error))
                whenDone()
            }
        }
    }

    private func addHandlers(to channel: any Channel) throws {
        if let certificates {
            let name = settings.serverName ?? endpoint.host
            let isAddress = (try? SocketAddress(ipAddress: name, port: endpoint.port)) != nil
            try channel.pipeline.syncOperations.addHandler(
                NIOSSLClientHandler(context: certificates.context, serverHostname: isAddress ? nil : name))
        }
        let connection = RedisConnection(maximumPending: settings.maximumPendingRequests) {
            [weak self] ended, nodeFailure in
            if self?.loop.value.connection === ended { self?.fail(nodeFailure) }
        }
        connection.probe = { [weak self] in self?.role.probeKey().map { Self.writeProbe($0) } }
        try channel.pipeline.syncOperations.addHandler(connection)
    }

    /// Marks the node as up after a successful login.
    func markUp(scriptDigest: [UInt8]) {
        guard let shouldReport = loop.value.health.succeed() else { return }
        loop.value.scriptDigest = scriptDigest
        let wasDown = shared.withLock { $0.nodeFailure != nil }
        if wasDown || role.startsSlowly { loop.value.ramp.start() }
        publishState(true, nodeFailure: nil)
        if shouldReport { logger.notice("Redis node is up; decisions are metered") }
        let interval = TimeAmount.milliseconds(settings.heartbeatMilliseconds)
        // Random first delay, so that heartbeats to several nodes do not coincide.
        let first = TimeAmount.nanoseconds(Int64.random(in: 0..<interval.nanoseconds))
        loop.value.heartbeat = eventLoop.scheduleRepeatedTask(initialDelay: first, delay: interval) { _ in
            self.sendHeartbeat(interval: interval)
        }
    }

    /// The attempt to connect, or the connection in use, has failed.
    func fail(_ nodeFailure: NodeFailure) {
        // Compare failures by kind, because the text may differ each time.
        let reason = nodeFailure.kind == .error ? nodeFailure.message : nodeFailure.kind.rawValue
        let action = loop.value.health.fail(reason, jitter: Double.random(in: 0...1))
        guard let action else { return }
        publishState(false, nodeFailure: nodeFailure)
        loop.value.heartbeat?.cancel()
        loop.value.heartbeat = nil
        loop.value.connection?.close(nodeFailure)
        loop.value.connection = nil
        if action.shouldReport {
            var metadata: Logger.Metadata = ["state": "\(nodeFailure.kind.rawValue)", "reason": "\(nodeFailure)"]
            metadata["remedy"] = nodeFailure.remedy.map { "\($0)" }
            logger.warning("Redis node is down; the failure policy decides", metadata: metadata)
        }
        loop.value.retry = eventLoop.scheduleTask(in: .milliseconds(action.retryAfterMilliseconds)) { self.probe() }
    }

    /// Publishes whether the node is in use, and updates the local fraction before any request needs it.
    private func publishState(_ isUp: Bool, nodeFailure: NodeFailure?, keepsFraction: Bool = false) {
        let now = clock.now()
        let isChange = isUp != self.isUp
        shared.withLock { $0.nodeFailure = nodeFailure }
        if isUp {
            role.fraction?.lease.withLock { $0.markNodeRecovered() }
        } else if isChange, !keepsFraction {
            role.fraction?.lease.withLock { $0.markNodeLost(now: now) }
        }
        isUpFlag.store(isUp, ordering: .relaxed)
        if isChange { role.changed(self, isUp) }
    }

    /// Takes the node out of use, because the caller has detected a failure.
    ///
    /// Any thread may call it.
    func takeOutOfUse(_ nodeFailure: NodeFailure) {
        eventLoop.execute { self.loop.value.connection?.close(nodeFailure) }
    }

    // MARK: Commands

    static let asking = [Array("ASKING".utf8)]

    /// Sends one command; `reply` is called once, on the event loop or before this returns.
    ///
    /// Any thread may call it. An error reply from the node counts as a success.
    func command(
        _ message: [[UInt8]], isAsking: Bool = false, timeoutMilliseconds: Int64,
        reply: @escaping @Sendable (Result<RESPValue, LeaseFailure>) -> Void
    ) {
        guard eventLoop.inEventLoop else {
            return eventLoop.execute {
                self.command(message, isAsking: isAsking, timeoutMilliseconds: timeoutMilliseconds, reply: reply)
            }
        }
        guard isUp, let connection = loop.value.connection else { return reply(.failure(.unreachable)) }
        let deadline = eventLoop.now + .milliseconds(timeoutMilliseconds)
        connection.send(message, after: isAsking ? Self.asking : nil, deadline: deadline) { result in
            reply(result.mapError { $0.asLeaseFailure })
        }
    }

    /// Sends one command and waits for its reply.
    func command(
        _ message: [[UInt8]], timeoutMilliseconds: Int64
    ) async -> Result<RESPValue, LeaseFailure> {
        await withCheckedContinuation { continuation in
            command(message, timeoutMilliseconds: timeoutMilliseconds) { continuation.resume(returning: $0) }
        }
    }
}

extension RedisConnection.Failure {
    var asLeaseFailure: LeaseFailure {
        switch self {
        case .timedOut: .timedOut
        case .closed: .unreachable
        case .overloaded: .overloaded
        }
    }
}
