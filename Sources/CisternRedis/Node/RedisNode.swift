internal import Cistern
internal import CisternCluster
internal import CisternSupport
internal import Foundation
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import NIOSSL
internal import Synchronization

/// One Redis node: keeps a connection to it for as long as it can be had, and carries commands over it.
///
/// What to do is decided by ``NodeHealth``; this is the shell that does it. Everything but what any thread may read
/// happens on one event loop. Logging in is in `RedisNode+Login.swift`, lease requests are in `RedisNode+Lease.swift`.
final class RedisNode: Sendable {
    /// What a node is for, as whoever has several of them says.
    struct Role: Sendable {
        /// Whether it is one of a Redis Cluster, which may send a request on to another node.
        var isClustered = false
        /// A key with which to try whether the node takes writes; nil where it keeps none.
        var probeKey: @Sendable () -> [UInt8]? = { KeyNames.probe }
        /// Of one of a Redis Cluster: whether a map of slots is of the cluster that is known.
        var belongs: @Sendable (SlotMap) -> Bool = { _ in true }
        /// This server's part of all limits from this node; nil for none.
        var share: NodeFraction?
        /// Whether it is sent few requests at first even though it has not been lost itself.
        var startsSlowly = false
        /// Told, on the event loop, when the node comes into use and when it is lost.
        var changed: @Sendable (_ node: RedisNode, _ isUp: Bool) -> Void = { _, _ in }
    }

    /// What lives on the event loop.
    struct Loop {
        var health: NodeHealth
        var ramp: RecoveryRamp
        var connection: RedisConnection?
        /// The digest by which the node knows the script.
        var scriptDigest: [UInt8] = []
        var retry: Scheduled<Void>?
        var heartbeat: RepeatedTask?
        var rejectionLog = LogThrottle()
        /// Requests answered with errors that tell nothing of the node, since one was granted last.
        var rejections = 0
        /// What keys Redis evicts when its memory is full, as was warned of last.
        var evictionPolicy = ""
        /// Of what the script found wrong with buckets.
        var remarkLog = LogThrottle()
    }

    /// What other threads may read.
    struct Shared {
        var statistics = NodeStatistics()
        var trouble: NodeFailure?
        /// Redis's version as it says it in scripts, 0x070000 for 7.0; 0 before that, and where nobody has asked.
        var version: Int64 = 0
    }

    let endpoint: RedisEndpoint
    let settings: RedisSettings
    let role: Role
    let clock: any TimeSource
    let logger: Logger
    let eventLoop: any EventLoop
    let loop: NIOLoopBoundBox<Loop>
    private let isUpFlag = Atomic(false)
    let shared: Mutex<Shared>
    /// Nil for a link without TLS.
    private let certificates: LinkCertificates?

    /// Creates a node, which does nothing before ``start()``.
    init(
        endpoint: RedisEndpoint, settings: RedisSettings, certificates: LinkCertificates, role: Role,
        clock: any TimeSource,
        eventLoop: any EventLoop, logger: Logger
    ) {
        self.endpoint = endpoint
        self.settings = settings
        self.role = role
        self.clock = clock
        self.eventLoop = eventLoop
        var logger = logger
        logger[metadataKey: "node"] = "\(endpoint.name)"
        self.logger = logger
        self.certificates = endpoint.usesTLS ? certificates : nil
        var backOff = NodeHealth.BackOff()
        backOff.firstMilliseconds = settings.firstRetryMilliseconds
        backOff.longestMilliseconds = settings.longestRetryMilliseconds
        shared = Mutex(Shared())
        loop = .makeBoxSendingValue(
            Loop(
                health: NodeHealth(backOff: backOff),
                ramp: RecoveryRamp(first: settings.firstRequestsAfterRecovery)),
            eventLoop: eventLoop)
    }

    /// Whether requests are sent to the node now.
    ///
    /// Any thread may ask.
    var isUp: Bool { isUpFlag.load(ordering: .relaxed) }

    /// What is known of the node now.
    ///
    /// Any thread may ask.
    var report: NodeReport {
        shared.withLock {
            NodeReport(name: endpoint.name, isUp: isUp, trouble: $0.trouble, statistics: $0.statistics)
        }
    }

    /// Whether the node has been tried since it was made, and whatever came of it is known.
    ///
    /// Any thread may ask.
    var hasBeenTried: Bool { isUp || shared.withLock { $0.trouble != nil } }

    /// Whether the node sends a request on (`ASK`) only once none of its keys is left with it: from Redis 7 on.
    ///
    /// Any thread may ask.
    var asksForWholeBuckets: Bool { shared.withLock { $0.version >= 0x070000 } }

    // MARK: Life

    /// Starts connecting, and returns once the first attempt has succeeded or failed.
    func start() async {
        await withCheckedContinuation { continuation in
            begin { continuation.resume() }
        }
    }

    /// Starts connecting.
    ///
    /// Any thread may call; `whenDone` is called on the event loop, once the first attempt has succeeded or failed.
    func begin(whenDone: @escaping @Sendable () -> Void = {}) {
        eventLoop.execute { self.probe(whenDone: whenDone) }
    }

    /// Takes no more requests, and closes the connection for good once those in flight are answered or too late.
    func stop() async {
        await withCheckedContinuation { continuation in
            end { continuation.resume() }
        }
    }

    /// The same; any thread may call, and `whenDone` is called on the event loop once no more requests are taken.
    ///
    /// - Parameter isReplaced: whether another connection to the same node takes its place, and with it this server's part
    ///   of all limits.
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
        let trouble = NodeFailure(.stopped, "the server has no more use for it")
        setUp(false, trouble: trouble, keepsShare: isReplaced)
        loop.value.connection?.finish(trouble)
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
                // Of a host with several addresses more than one may have been tried: this is the one that answered.
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
            [weak self] ended, trouble in
            if self?.loop.value.connection === ended { self?.fail(trouble) }
        }
        connection.probe = { [weak self] in self?.role.probeKey().map { Self.writeProbe($0) } }
        try channel.pipeline.syncOperations.addHandler(connection)
    }

    /// Logging in has succeeded: the node is used from now on.
    func becomeUp(scriptDigest: [UInt8]) {
        guard let isNews = loop.value.health.succeed() else { return }
        loop.value.scriptDigest = scriptDigest
        let wasInTrouble = shared.withLock { $0.trouble != nil }
        if wasInTrouble || role.startsSlowly { loop.value.ramp.start() }
        setUp(true, trouble: nil)
        if isNews { logger.notice("Redis node is up; decisions are metered") }
        let interval = TimeAmount.milliseconds(settings.heartbeatMilliseconds)
        // Spread, so that the nodes of a fleet are not all asked in the same instant.
        let first = TimeAmount.nanoseconds(Int64.random(in: 0..<interval.nanoseconds))
        loop.value.heartbeat = eventLoop.scheduleRepeatedTask(initialDelay: first, delay: interval) { _ in
            self.beat(interval: interval)
        }
    }

    /// The attempt to connect, or the connection in use, has failed.
    func fail(_ trouble: NodeFailure) {
        // What tells one trouble from another is its name: its words may differ each time.
        let reason = trouble.kind == .error ? trouble.words : trouble.kind.rawValue
        let action = loop.value.health.fail(reason, jitter: Double.random(in: 0...1))
        guard let action else { return }
        setUp(false, trouble: trouble)
        loop.value.heartbeat?.cancel()
        loop.value.heartbeat = nil
        loop.value.connection?.close(trouble)
        loop.value.connection = nil
        if action.isNews {
            var metadata: Logger.Metadata = ["state": "\(trouble.kind.rawValue)", "reason": "\(trouble)"]
            metadata["remedy"] = trouble.remedy.map { "\($0)" }
            logger.warning("Redis node is down; the failure policy decides", metadata: metadata)
        }
        loop.value.retry = eventLoop.scheduleTask(in: .milliseconds(action.retryAfterMilliseconds)) { self.probe() }
    }

    /// Makes it known whether the node is in use; with the part of the limits to go on with before anyone needs it.
    private func setUp(_ isUp: Bool, trouble: NodeFailure?, keepsShare: Bool = false) {
        let now = clock.now()
        let isChange = isUp != self.isUp
        shared.withLock { $0.trouble = trouble }
        if isUp {
            role.share?.lease.withLock { $0.regain() }
        } else if isChange, !keepsShare {
            role.share?.lease.withLock { $0.lose(now: now) }
        }
        isUpFlag.store(isUp, ordering: .relaxed)
        if isChange { role.changed(self, isUp) }
    }

    /// Takes the node out of use for a reason that only those who ask it can know.
    ///
    /// Any thread may call.
    func reject(_ trouble: NodeFailure) {
        eventLoop.execute { self.loop.value.connection?.close(trouble) }
    }

    // MARK: Commands

    static let asking = [Array("ASKING".utf8)]

    /// Sends one command; `reply` is called once, on the event loop or before this returns.
    ///
    /// Any thread may call. An error that the node answers with is a reply like any other.
    func command(
        _ words: [[UInt8]], isAsking: Bool = false, timeoutMilliseconds: Int64,
        reply: @escaping @Sendable (Result<RESPValue, LeaseFailure>) -> Void
    ) {
        guard eventLoop.inEventLoop else {
            return eventLoop.execute {
                self.command(words, isAsking: isAsking, timeoutMilliseconds: timeoutMilliseconds, reply: reply)
            }
        }
        guard isUp, let connection = loop.value.connection else { return reply(.failure(.unreachable)) }
        let deadline = eventLoop.now + .milliseconds(timeoutMilliseconds)
        connection.send(words, after: isAsking ? Self.asking : nil, deadline: deadline) { result in
            reply(result.mapError { $0.asLeaseFailure })
        }
    }

    /// The same for those that can wait.
    func command(
        _ words: [[UInt8]], timeoutMilliseconds: Int64
    ) async -> Result<RESPValue, LeaseFailure> {
        await withCheckedContinuation { continuation in
            command(words, timeoutMilliseconds: timeoutMilliseconds) { continuation.resume(returning: $0) }
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
