package import Cistern
package import CisternSupport
package import Logging
package import NIOCore
internal import NIOPosix
internal import Synchronization

/// The data plane: an HTTP/1.1 server that asks a limiter about each request.
package final class HTTPServer: Sendable {
    private let limiter: any Decider
    private let settings: HTTPSettings
    private let clock: any TimeSource
    private let logger: Logger
    private let group: any EventLoopGroup
    /// What each event loop's connections share, by the loop.
    private let loops: [ObjectIdentifier: NIOLoopBoundBox<LoopContext>]
    private let loopStatistics: [LoopContext.Statistics]
    private let connections = Atomic(0)
    /// Connections beyond the bound that wait for their clients to hang up.
    private let refusing = Atomic(0)
    private let refusedConnections = Atomic<UInt64>(0)
    private let acceptFailures = Atomic<UInt64>(0)
    private let optionLog = Mutex(LogThrottle())
    private let listening = Mutex<(any Channel)?>(nil)
    private let lagChecks = Mutex<[RepeatedTask]>([])

    /// Creates a server.
    ///
    /// It does not listen before ``start()``.
    ///
    /// - Parameters:
    ///   - clock: where the limiter's `now` comes from.
    ///   - unixMilliseconds: the wall clock, for dates; in milliseconds since 1970-01-01 UTC.
    ///   - pages: what stands on the pages for operators.
    ///   - logger: told of each decision, at level debug, and now and then of what limits in shadow would have denied.
    package init(
        limiter: any Decider, settings: HTTPSettings, clock: any TimeSource,
        unixMilliseconds: @escaping @Sendable () -> Int64, pages: OperatorPages, group: any EventLoopGroup,
        logger: Logger
    ) {
        self.limiter = limiter
        self.settings = settings
        self.clock = clock
        self.logger = logger
        self.group = group
        let bodyBudget = BodyBudget(maximumBytes: settings.maximumBufferedBodyBytes)
        var loops: [ObjectIdentifier: NIOLoopBoundBox<LoopContext>] = [:]
        var loopStatistics: [LoopContext.Statistics] = []
        for loop in group.makeIterator() {
            let statistics = LoopContext.Statistics()
            loopStatistics.append(statistics)
            loops[ObjectIdentifier(loop)] = .makeBoxSendingValue(
                LoopContext(
                    clock: clock, unixMilliseconds: unixMilliseconds, statistics: statistics, pages: pages,
                    bodyBudget: bodyBudget, logger: logger),
                eventLoop: loop)
        }
        self.loops = loops
        self.loopStatistics = loopStatistics
    }

    /// Starts to listen.
    ///
    /// - Returns: the port, which is the system's choice where the settings say 0.
    /// - Throws: the socket's error, where the address cannot be listened on.
    package func start() async throws -> Int {
        let channel = try await ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = AcceptErrorHandler(clock: self.clock, logger: self.logger) {
                        self.acceptFailures.add(1, ordering: .relaxed)
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
        checkLag()
        return channel.localAddress?.port ?? settings.port
    }

    /// Makes every answer from now on its connection's last, and `/health` say so; connections are still accepted.
    package func beginDraining() async {
        for loop in group.makeIterator() {
            let context = context(of: loop)
            try? await loop.submit { context.value.beginDraining() }.get()
        }
    }

    /// Stops listening, lets the requests at hand finish, and returns once every connection is closed; a second call
    /// returns at once.
    ///
    /// - Parameter time: how long the caller waits; at most half of it is for connections that are just being made.
    package func drain(within time: Duration) async throws {
        guard let channel = listening.withLock({ $0.take() }) else { return }
        for check in lagChecks.withLock({ $0 }) { check.cancel() }
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

    /// Waits until every connection that the system has established, or is about to, is accepted: closing the listener
    /// resets the others.
    private func emptyBacklog(of channel: any Channel, within time: Duration) async {
        // A handshake that has begun takes a round trip to end.
        let (shortest, longest) = (min(.milliseconds(200), time / 4), min(.seconds(1), time / 2))
        let isRefusing = try? await channel.eventLoop.submit {
            SocketState.setTakesNewConnections(false, channel)
        }.get()
        if isRefusing == false {
            logger.warning("new connections cannot be kept off while the server drains: some may be reset")
        }
        let start = ContinuousClock.now
        while ContinuousClock.now - start < longest {
            let isWaiting = (try? await channel.eventLoop.submit { SocketState.hasWaitingConnections(channel) }.get())
            // An accepted connection goes to its own loop, and must be there before the listener closes.
            for loop in group.makeIterator() { try? await loop.submit {}.get() }
            if isWaiting != true, ContinuousClock.now - start >= shortest { return }
            guard (try? await Task.sleep(for: .milliseconds(2))) != nil else { return }
        }
    }

    /// Closes every connection, whatever it is at, and returns once all are closed.
    ///
    /// For a server that has drained for long enough: the loops must be there still when a connection that was on one of them
    /// takes itself off the books of another.
    package func cutOff() async {
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

    /// Requests answered since the start, summed over the event loops.
    package var statistics: HTTPStatistics {
        var sum = HTTPStatistics()
        for loop in loopStatistics { sum += loop.mutex.withLock { $0.requests } }
        return sum
    }

    /// How late the event loops come to what is due, ten times a second for each.
    package var lag: LatencyHistogram {
        var sum = LatencyHistogram()
        for loop in loopStatistics { sum += loop.mutex.withLock { $0.lag } }
        return sum
    }

    /// The organizations that are decided for most often, the busiest first.
    package func busiest(_ most: Int, by order: BusiestOrder, now: Instant) -> [SpaceSavingSketch.Entry] {
        SpaceSavingSketch.busiest(
            most, of: loopStatistics.map { loop in loop.mutex.withLock { $0.busiest[order] } },
            second: now.milliseconds / 1000)
    }

    private static let lagInterval = TimeAmount.milliseconds(100)

    /// Measures how late each loop is: what is due waits for what the loop is at.
    private func checkLag() {
        let checks = zip(group.makeIterator(), loopStatistics).map { loop, statistics in
            let due = NIOLoopBoundBox.makeBoxSendingValue(NIODeadline.now() + Self.lagInterval, eventLoop: loop)
            return loop.scheduleRepeatedTask(initialDelay: Self.lagInterval, delay: Self.lagInterval) { _ in
                let now = NIODeadline.now()
                let lag = max(0, (now - due.value).nanoseconds)
                due.value = now + Self.lagInterval
                statistics.mutex.withLock { $0.lag.record(nanoseconds: lag) }
            }
        }
        lagChecks.withLock { $0 = checks }
    }

    /// Connections open now.
    package var connectionCount: Int {
        connections.load(ordering: .relaxed)
    }

    /// Connections answered 503 for being beyond the bound, since the start.
    package var refusedConnectionCount: UInt64 { refusedConnections.load(ordering: .relaxed) }

    /// How often the system could not accept a connection, for want of descriptors or memory.
    package var acceptFailureCount: UInt64 { acceptFailures.load(ordering: .relaxed) }

    private static let mostRefusing = 16

    private func accept(_ channel: any Channel) throws {
        let loop = context(of: channel.eventLoop)
        let id = ObjectIdentifier(channel)
        loop.value.open[id] = channel
        channel.closeFuture.whenComplete { _ in loop.value.open[id] = nil }
        setNoDelay(channel)
        // It has inherited from the listener that it takes next to no packet.
        if loop.value.isDraining { _ = SocketState.setTakesNewConnections(true, channel) }
        guard Self.takeOne(of: settings.maximumConnections, from: connections) else { return try refuse(channel) }
        channel.closeFuture.whenComplete { _ in self.connections.subtract(1, ordering: .relaxed) }
        try Self.addHandlers(to: channel, limiter: limiter, settings: settings, loop: loop.value)
    }

    /// Answers a connection beyond the bound; it takes none of the places, and only few wait for their clients.
    private func refuse(_ channel: any Channel) throws {
        refusedConnections.add(1, ordering: .relaxed)
        let lingers = Self.takeOne(of: Self.mostRefusing, from: refusing)
        if lingers { channel.closeFuture.whenComplete { _ in self.refusing.subtract(1, ordering: .relaxed) } }
        try channel.pipeline.syncOperations.addHandler(RefusedConnectionHandler(lingers: lingers))
    }

    /// Counts one more, unless there are as many as may be.
    private static func takeOne(of most: Int, from count: borrowing Atomic<Int>) -> Bool {
        if count.add(1, ordering: .relaxed).newValue <= most { return true }
        count.subtract(1, ordering: .relaxed)
        return false
    }

    /// Without the option answers are sent later; the connection works all the same.
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
            preconditionFailure("a connection is on an event loop of the server's group")
        }
        return context
    }

    /// Puts the handler of one connection into its pipeline.
    static func addHandlers(
        to channel: any Channel, limiter: any Decider, settings: HTTPSettings, loop: LoopContext
    ) throws {
        try channel.pipeline.syncOperations.addHandler(
            ConnectionHandler(limiter: limiter, settings: settings, loop: loop))
    }
}
