package import Cistern
internal import CisternSupport
package import Logging
package import NIOCore
internal import NIOPosix
internal import Synchronization

/// The data plane: an HTTP/1.1 server that asks a limiter for a decision on each request.
package final class HTTPServer: Sendable {
    private let limiter: any Decider
    private let settings: HTTPSettings
    private let clock: any TimeSource
    private let logger: Logger
    private let group: any EventLoopGroup
    /// The state that an event loop's connections share, by event loop.
    private let loops: [ObjectIdentifier: NIOLoopBoundBox<LoopContext>]
    private let statistics: HTTPServerStatistics
    /// Rejected connections that wait for their clients to close.
    private let lingeringRejections = Atomic(0)
    private let optionLog = Mutex(LogThrottle())
    private let listening = Mutex<(any Channel)?>(nil)
    private let lagMonitors = Mutex<[RepeatedTask]>([])

    /// Creates a server, which listens only after ``start()``.
    ///
    /// - Parameters:
    ///   - clock: the source of the limiter's `now`.
    ///   - unixMilliseconds: the wall clock for dates, in milliseconds since 1970-01-01 UTC.
    ///   - statistics: counts what this server does; it must be made for the same group.
    ///   - pages: the contents of `/health` and `/metrics`.
    ///   - logger: logs each decision at level debug, and some of the denials that shadow limits would have made.
    package init(
        limiter: any Decider, settings: HTTPSettings, clock: any TimeSource,
        unixMilliseconds: @escaping @Sendable () -> Int64, statistics: HTTPServerStatistics,
        pages: HealthAndMetricsPages, group: any EventLoopGroup, logger: Logger
    ) {
        self.limiter = limiter
        self.settings = settings
        self.clock = clock
        self.logger = logger
        self.group = group
        self.statistics = statistics
        let bodyBudget = BodyBudget(maximumBytes: settings.maximumBufferedBodyBytes)
        var loops: [ObjectIdentifier: NIOLoopBoundBox<LoopContext>] = [:]
        for (loop, loopStatistics) in zip(group.makeIterator(), statistics.loops) {
            loops[ObjectIdentifier(loop)] = .makeBoxSendingValue(
                LoopContext(
                    clock: clock, unixMilliseconds: unixMilliseconds, statistics: loopStatistics, pages: pages,
                    bodyBudget: bodyBudget, logger: logger),
                eventLoop: loop)
        }
        self.loops = loops
    }

    /// Starts listening.
    ///
    /// - Returns: the bound port; the system chooses a free one if the setting is 0.
    /// - Throws: the socket error if the server cannot listen on the address.
    package func start() async throws -> Int {
        let channel = try await ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = AcceptErrorHandler(clock: self.clock, logger: self.logger) {
                        self.statistics.acceptFailures.add(1, ordering: .relaxed)
                    }
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try self.accept(channel) }
            }
            .bind(host: settings.host, port: settings.port)
            .get()
        listening.withLock { $0 = channel }
        startLagMonitor()
        return channel.localAddress?.port ?? settings.port
    }

    /// From now on, closes each connection after its next response.
    ///
    /// `/health` reports the drain from its next request on. The server still accepts connections.
    package func beginDraining() async {
        for loop in group.makeIterator() {
            let context = context(of: loop)
            try? await loop.submit { context.value.beginDraining() }.get()
        }
    }

    /// Stops listening, finishes the requests in flight, and returns when every connection is closed.
    ///
    /// A second call returns immediately.
    ///
    /// - Parameter time: the caller's drain timeout. At most half of it, and at most 1 s, waits for connections that
    ///   are still being established. This method does not enforce the timeout; the caller does.
    package func drain(within time: Duration) async throws {
        guard let channel = listening.withLock({ $0.take() }) else { return }
        for check in lagMonitors.withLock({ $0 }) { check.cancel() }
        await beginDraining()
        await emptyBacklog(of: channel, within: time)
        try? await channel.close().get()
        let closing = group.makeIterator().map { loop in
            let context = context(of: loop)
            return loop.flatSubmit {
                let channels = Array(context.value.open.values)
                for channel in channels { channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
                return EventLoopFuture.andAllComplete(channels.map(\.closeFuture), on: loop)
            }
        }
        for closed in closing { try? await closed.get() }
    }

    /// Waits until the accept queue is empty and the handshakes in progress are complete.
    ///
    /// Closing the listener resets every connection that it has not accepted.
    private func emptyBacklog(of channel: any Channel, within time: Duration) async {
        // A handshake in progress needs up to one more round trip.
        let (shortest, longest) = (min(.milliseconds(200), time / 4), min(.seconds(1), time / 2))
        let isRefusing = try? await channel.eventLoop.submit {
            SocketState.setAllowsNewHandshakes(false, channel)
        }.get()
        if isRefusing == false {
            logger.warning("cannot block new connections while draining: some clients may see a connection reset")
        }
        let start = ContinuousClock.now
        while ContinuousClock.now - start < longest {
            let isWaiting = (try? await channel.eventLoop.submit { SocketState.hasWaitingConnections(channel) }.get())
            // Every accepted connection must be registered on its own event loop before the listener closes.
            for loop in group.makeIterator() { try? await loop.submit {}.get() }
            if isWaiting != true, ContinuousClock.now - start >= shortest { return }
            guard (try? await Task.sleep(for: .milliseconds(2))) != nil else { return }
        }
    }

    /// Closes every connection, even with a request in flight, and returns when all are closed.
    ///
    /// Call this after the drain timeout and before the event loops shut down: a connection that closes may update
    /// state on another event loop.
    package func closeAllConnections() async {
        let closing = group.makeIterator().map { loop in
            let context = context(of: loop)
            return loop.flatSubmit {
                let channels = Array(context.value.open.values)
                for channel in channels { channel.close(promise: nil) }
                return EventLoopFuture.andAllComplete(channels.map(\.closeFuture), on: loop)
            }
        }
        for closed in closing { try? await closed.get() }
    }

    private static let lagInterval = TimeAmount.milliseconds(100)

    /// Measures each loop's lag: a task that is due waits until the loop has finished its current work.
    private func startLagMonitor() {
        let checks = zip(group.makeIterator(), statistics.loops).map { loop, statistics in
            let due = NIOLoopBoundBox.makeBoxSendingValue(NIODeadline.now() + Self.lagInterval, eventLoop: loop)
            return loop.scheduleRepeatedTask(initialDelay: Self.lagInterval, delay: Self.lagInterval) { _ in
                let now = NIODeadline.now()
                let lag = max(0, (now - due.value).nanoseconds)
                due.value = now + Self.lagInterval
                statistics.mutex.withLock { $0.lag.record(nanoseconds: lag) }
            }
        }
        lagMonitors.withLock { $0 = checks }
    }

    private static let maximumLingeringRejections = 16

    private func accept(_ channel: any Channel) throws {
        let loop = context(of: channel.eventLoop)
        let id = ObjectIdentifier(channel)
        loop.value.open[id] = channel
        channel.closeFuture.whenComplete { _ in loop.value.open[id] = nil }
        setNoDelay(channel)
        // An accepted socket inherits the draining listener's minimum TTL, which drops nearly every packet: reset it.
        if loop.value.isDraining { _ = SocketState.setAllowsNewHandshakes(true, channel) }
        guard Self.incrementIfBelow(of: settings.maximumConnections, from: statistics.connections) else {
            return try refuse(channel)
        }
        channel.closeFuture.whenComplete { _ in self.statistics.connections.subtract(1, ordering: .relaxed) }
        try Self.addHandlers(to: channel, limiter: limiter, settings: settings, loop: loop.value)
    }

    /// Rejects a connection above the limit.
    ///
    /// A rejected connection does not count toward `maximumConnections`. At most `maximumLingeringRejections` rejected
    /// connections wait for their clients to close.
    private func refuse(_ channel: any Channel) throws {
        statistics.refusedConnections.add(1, ordering: .relaxed)
        let lingers = Self.incrementIfBelow(of: Self.maximumLingeringRejections, from: lingeringRejections)
        if lingers {
            channel.closeFuture.whenComplete { _ in self.lingeringRejections.subtract(1, ordering: .relaxed) }
        }
        try channel.pipeline.syncOperations.addHandler(RejectedConnectionHandler(lingers: lingers))
    }

    /// Increments `count` unless the result would exceed `most`; returns whether `count` was incremented.
    private static func incrementIfBelow(of most: Int, from count: borrowing Atomic<Int>) -> Bool {
        if count.add(1, ordering: .relaxed).newValue <= most { return true }
        count.subtract(1, ordering: .relaxed)
        return false
    }

    /// Sets TCP_NODELAY; without it, the connection works but sends responses later.
    private func setNoDelay(_ channel: any Channel) {
        do {
            try channel.syncOptions?.setOption(.tcpOption(.tcp_nodelay), value: 1)
        } catch {
            guard let suppressed = optionLog.withLock({ $0.permit(now: clock.now()) }) else { return }
            logger.warning(
                "cannot set TCP_NODELAY on a connection",
                metadata: ["reason": "\(error)", "suppressed": "\(suppressed)"])
        }
    }

    private func context(of loop: any EventLoop) -> NIOLoopBoundBox<LoopContext> {
        guard let context = loops[ObjectIdentifier(loop)] else {
            preconditionFailure("the event loop does not belong to the server's group")
        }
        return context
    }

    /// Adds the connection handler to the channel's pipeline.
    static func addHandlers(
        to channel: any Channel, limiter: any Decider, settings: HTTPSettings, loop: LoopContext
    ) throws {
        try channel.pipeline.syncOperations.addHandler(
            ConnectionHandler(limiter: limiter, settings: settings, loop: loop, eventLoop: channel.eventLoop))
    }
}
