internal import Cistern
internal import CisternAdmin
internal import CisternHTTP
internal import CisternRedis
internal import Foundation
package import Logging
internal import NIOCore
internal import NIOPosix
internal import ServiceLifecycle
internal import Synchronization
internal import UnixSignals

/// A complete server: the store connection, the limiter, the data plane and the admin interface, started in this order.
///
/// The admin interface stops last, after the data plane has drained.
package struct CisternService: Service, CustomStringConvertible {
    private let settings: ServerSettings
    private let rereadSettings: @Sendable () throws -> ServerSettings
    private let droppedLogLines: @Sendable () -> UInt64
    private let logger: Logger
    private let onListening: @Sendable (_ host: String, _ port: Int) -> Void
    private let journal = Journal()

    /// Creates a server.
    ///
    /// - Parameters:
    ///   - rereadSettings: reads the settings again, after SIGHUP or when a certificate file has changed.
    ///   - droppedLogLines: returns how many log lines were dropped so far.
    ///   - onListening: called once the server accepts requests.
    package init(
        settings: ServerSettings, rereadSettings: @escaping @Sendable () throws -> ServerSettings,
        droppedLogLines: @escaping @Sendable () -> UInt64 = { 0 }, logger: Logger,
        onListening: @escaping @Sendable (_ host: String, _ port: Int) -> Void
    ) {
        self.settings = settings
        self.rereadSettings = rereadSettings
        self.droppedLogLines = droppedLogLines
        self.logger = journal.recording(logger)
        self.onListening = onListening
    }

    /// ServiceLifecycle logs services by their description; this keeps settings out of the log.
    package var description: String { "CisternService" }

    /// Serves until graceful shutdown; then finishes in-flight requests and returns every lease.
    ///
    /// - Throws: `StartError` if the server cannot listen on an address.
    package func run() async throws {
        let threads = settings.threads == 0 ? System.coreCount : settings.threads
        let group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
        let clock = ClockTimeSource(ContinuousClock())
        let store = try makeStore(group: group, clock: clock)
        await store?.start()
        let limiter = makeLimiter(store: store)
        let limits = LimitsWatcher(
            standard: settings.standard, path: settings.limitsPath, limiter: limiter, clock: clock,
            logger: logger)
        let overrides = OverrideSynchronizer(
            copies: store?.overrideCopies, limiter: limiter, clock: clock)
        // Load existing overrides before the first request.
        await overrides.refresh()
        let statistics = HTTPServerStatistics(group: group)
        let operations = ServerOperations(
            limiter: limiter, store: store, limits: limits, overrides: overrides,
            failurePolicy: settings.limiter.failurePolicy, http: statistics, droppedLogLines: droppedLogLines,
            journal: journal, clock: clock)
        let server = HTTPServer(
            limiter: limiter, settings: httpSettings(threads: threads), clock: clock,
            unixMilliseconds: { Int64(Date().timeIntervalSince1970 * 1000) }, statistics: statistics,
            pages: operations.pages, group: group, logger: logger)
        let tokens = CurrentAdminTokens(settings.admin?.tokens)
        let port = try await start(server)
        let admin = try await startAdmin(operations, tokens: tokens, clock: clock)
        // Trapped before the server announces itself: an untrapped SIGHUP would terminate the process.
        let hangups = await UnixSignalsSequence(trapping: .sighup)
        onListening(settings.http.host, port)
        let interval = TimeAmount.milliseconds(settings.limiter.lease.sweepMilliseconds)
        let idleTask = store.map { _ in
            group.next().scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
                limiter.returnIdleLeases(now: clock.now())
            }
        }
        let certificates = store.map {
            CertificateWatcher(store: $0, current: settings, read: rereadSettings, logger: logger)
        }
        let watcherTasks = [
            Task { await limits.run() }, Task { await overrides.run() }, Task { await certificates?.run() ?? () },
        ]
        let reloading = Task {
            var reload = Reload(
                current: settings, store: store, limiter: limiter, limits: limits, adminTokens: tokens,
                certificates: certificates, clock: clock, logger: logger)
            for await _ in hangups { await reload.apply(rereadSettings) }
            await reload.stop()
        }
        try? await gracefulShutdown()
        await beginDraining(operations, server)
        for task in watcherTasks + [reloading] { task.cancel() }
        idleTask?.cancel()
        await stop(server, statistics, limiter: limiter, store: store, clock: clock)
        // The stopped store has failed the pending requests of these tasks, so the tasks end soon.
        for task in watcherTasks + [reloading] { await task.value }
        admin?.cancel()
        await admin?.value
        try await group.shutdownGracefully()
    }

    /// The data plane's settings, with `maximumConnections` capped by the limit of open files.
    private func httpSettings(threads: Int) -> HTTPSettings {
        var http = settings.http
        let nodes = settings.redis?.endpoints.count ?? 0
        let reserved = DescriptorLimit.openCount + 4 * threads + 8 * nodes + 40
        let limit = DescriptorLimit.raise(for: http.maximumConnections, reserved: reserved)
        guard limit.connections < http.maximumConnections else { return http }
        logger.warning(
            "fewer connections are possible than maxConnections: the limit of open files is too low",
            metadata: [
                "connections": "\(limit.connections)", "maxConnections": "\(http.maximumConnections)",
                "remedy": "raise the limit of open files: ulimit -n, or LimitNOFILE= in the systemd unit",
            ])
        http.maximumConnections = limit.connections
        return http
    }

    /// Gives load balancers time to move away: accepts connections for `drainDelay`, and closes each after a response.
    private func beginDraining(_ operations: ServerOperations, _ server: HTTPServer) async {
        operations.beginDraining()
        await server.beginDraining()
        guard settings.drainDelayMilliseconds > 0 else { return }
        logger.notice(
            "drain delay: still accepting connections", metadata: ["for": "\(settings.drainDelayMilliseconds) ms"]
        )
        try? await Task.sleep(for: .milliseconds(settings.drainDelayMilliseconds))
    }

    private func makeStore(group: any EventLoopGroup, clock: any TimeSource) throws -> RedisStore? {
        try settings.redis.map { redis in
            try RedisStore(
                endpoints: redis.endpoints, topology: redis.topology, settings: redis.settings,
                environment: StoreEnvironment(
                    clock: clock, namespace: redis.keyPrefix, settings: settings.limiter),
                eventLoopGroup: group, logger: logger)
        }
    }

    private func start(_ server: HTTPServer) async throws -> Int {
        do {
            return try await server.start()
        } catch {
            throw StartError(
                host: settings.http.host, port: settings.http.port, flags: ("--host", "--port"), cause: error)
        }
    }

    /// Starts the admin interface, if it is configured; canceling the returned task stops it.
    private func startAdmin(
        _ operations: ServerOperations, tokens: CurrentAdminTokens, clock: any TimeSource
    ) async throws -> Task<Void, Never>? {
        guard let admin = settings.admin else { return nil }
        let server = try AdminServer(
            operations: operations, settings: admin, tokens: { tokens.value.withLock { $0 } }, clock: clock,
            seed: UInt64.random(in: 0 ... .max), logger: logger)
        let (starts, start) = AsyncStream.makeStream(of: Result<Int, any Error>.self)
        // Detached, so that the admin interface keeps running while the data plane drains.
        let task = Task.detached { [logger] in
            do {
                try await server.run { port in start.yield(.success(port)) }
            } catch {
                start.yield(.failure(error))
                logger.error("the admin interface has stopped", metadata: ["reason": "\(error)"])
            }
        }
        for await result in starts {
            switch result {
            case .success(let port):
                let host = admin.host.contains(":") ? "[\(admin.host)]" : admin.host
                logger.notice("the admin interface is listening", metadata: ["address": "http://\(host):\(port)"])
                return task
            case .failure(let error):
                throw StartError(
                    host: admin.host, port: admin.port, flags: ("--admin-host", "--admin-port"), cause: error)
            }
        }
        return task
    }

    private func makeLimiter(store: RedisStore?) -> RateLimiterEngine {
        let seed = UInt64.random(in: 0 ... .max)
        guard let store else {
            return RateLimiterEngine(limits: settings.limits, settings: settings.limiter, seed: seed)
        }
        return RateLimiterEngine(
            limits: settings.limits, store: store, lesseeID: store.serverName, settings: settings.limiter, seed: seed)
    }

    private func stop(
        _ server: HTTPServer, _ statistics: HTTPServerStatistics, limiter: RateLimiterEngine, store: RedisStore?,
        clock: some TimeSource
    ) async {
        logger.notice("draining")
        // In-flight requests get at most three quarters of the time; returning leases gets the rest.
        let limit = settings.drainTimeoutMilliseconds
        let start = clock.now()
        let forRequests = limit - limit / 4
        let drained = await withDeadline(.milliseconds(forRequests)) {
            try? await server.drain(within: .milliseconds(forRequests))
        }
        if !drained {
            logger.warning(
                "connections are cut off: they were still busy after three quarters of drainTimeout",
                metadata: ["connections": "\(statistics.connectionCount)"])
            await server.closeAllConnections()
        }
        let left = limit - (clock.now().milliseconds - start.milliseconds)
        let returned = await withDeadline(.milliseconds(max(1, left))) { await limiter.returnAllLeases(clock: clock) }
        if !returned { logger.warning("some leases were not returned within drainTimeout; they will expire") }
        await store?.stop()
        logger.notice("stopped")
    }
}

/// The tokens that currently grant access to the admin interface.
final class CurrentAdminTokens: Sendable {
    let value: Mutex<AdminTokens?>

    init(_ tokens: AdminTokens?) {
        value = Mutex(tokens)
    }
}

/// The server cannot listen on a configured address.
package struct StartError: Error, CustomStringConvertible {
    package let description: String

    /// - Parameter flags: the flags that set the address and the port.
    init(host: String, port: Int, flags: (host: String, port: String), cause: any Error) {
        let address = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        let remedy =
            switch (cause as? IOError)?.errnoCode {
            case EADDRINUSE: "the port is in use: stop the process that uses it, or choose another with \(flags.port)"
            case EACCES: "no permission: choose a port from 1024 up with \(flags.port)"
            case EADDRNOTAVAIL: "this machine has no such address: choose one of its addresses with \(flags.host)"
            default: "\(cause)"
            }
        description = "cannot listen on \(address): \(remedy)"
    }
}
