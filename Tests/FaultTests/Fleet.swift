import Cistern
import CisternProcesses
import CisternRedis
import CisternTesting
import Foundation
import Logging
import NIOPosix
import Synchronization

/// Several servers in one process, each with its own connections, memory and lessee ID.
final class Fleet: Sendable {
    struct Server: Sendable {
        let store: RedisStore
        let limiter: RateLimiterEngine
    }

    let servers: [Server]
    let clock = ClockTimeSource(ContinuousClock())
    let limit: Limit
    let log = LogCounter()
    private let idleTimer = Mutex<Task<Void, Never>?>(nil)

    /// Creates and starts the servers.
    ///
    /// - Parameters:
    ///   - urls: the Redis nodes, as `--redis` would name them.
    ///   - policy: the failure policy, for requests whose node is down.
    ///   - change: changes the settings of the Redis connections.
    init(
        _ count: Int = 2, urls: [String], topology: RedisTopology = .ring, limit: Limit,
        policy: FailurePolicy = .open, timeoutMilliseconds: Int64 = 250,
        record: GrantLog? = nil, _ change: (inout RedisSettings) -> Void = { _ in }
    ) async throws {
        self.limit = limit
        var link = RedisSettings()
        change(&link)
        var settings = LimiterSettings()
        settings.failurePolicy = policy
        settings.lease.timeoutMilliseconds = timeoutMilliseconds
        let (endpoints, log, clock) = (try urls.map { try RedisEndpoint(url: $0) }, log, clock)
        servers = try (0..<count).map { number in
            var logger = Logger(label: "server-\(number)") { _ in LogCounter.Handler(counter: log) }
            logger.logLevel = .debug
            let lesseeID = "server-\(number)-\(UUID().uuidString)"
            let store = try RedisStore(
                endpoints: endpoints, topology: topology, settings: link,
                environment: StoreEnvironment(clock: clock, lesseeID: lesseeID, settings: settings),
                eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: logger)
            let limits = Limits(standard: limit)
            let limiter =
                if let record {
                    RateLimiterEngine(
                        limits: limits, store: RecordingStore(store, log: record), lesseeID: lesseeID,
                        settings: settings,
                        seed: UInt64(number))
                } else {
                    RateLimiterEngine(
                        limits: limits, store: store, lesseeID: lesseeID, settings: settings, seed: UInt64(number))
                }
            return Server(store: store, limiter: limiter)
        }
        for server in servers { await server.store.start() }
        let limiters = servers.map(\.limiter)
        idleTimer.withLock {
            $0 = Task {
                while (try? await Task.sleep(for: .milliseconds(50))) != nil {
                    for limiter in limiters { limiter.returnIdleLeases(now: clock.now()) }
                }
            }
        }
    }

    func stop() async {
        idleTimer.withLock { $0?.cancel() }
        for server in servers { await server.store.stop() }
    }

    /// Each server's report on each node.
    var reports: [NodeReport] { servers.flatMap(\.store.reports) }

    var areAllUp: Bool { reports.allSatisfy(\.isUp) }

    /// The node failures that any server reports.
    var nodeFailures: Set<NodeFailure.Kind> { Set(reports.compactMap(\.nodeFailure?.kind)) }

    /// The partition of a key, as the first server numbers it.
    func partition(of key: String) -> Int { Int(servers[0].store.partition(of: key.utf8.span).number) }
}

/// The grants of a store, as they arrive.
final class GrantLog: Sendable {
    struct Entry: Sendable {
        let key: String
        let lesseeID: String
        let sequence: UInt64
        let tokens: Int
        let sentAt: Instant
        let answeredAt: Instant
        let isSuccess: Bool
    }

    private let entries = Mutex<[Entry]>([])

    var all: [Entry] { entries.withLock { $0 } }

    func add(_ entry: Entry) {
        entries.withLock { $0.append(entry) }
    }
}

/// A store that records its grants in a log.
private final class RecordingStore: LeaseStore {
    private let store: RedisStore
    private let log: GrantLog

    init(_ store: RedisStore, log: GrantLog) {
        self.store = store
        self.log = log
    }

    func partition(of key: Span<UInt8>) -> PartitionID { store.partition(of: key) }
    func isReachable(_ partition: PartitionID) -> Bool { store.isReachable(partition) }
    func localFraction(of partition: PartitionID) -> LocalFraction? { store.localFraction(of: partition) }

    func lease(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        store.lease(request) { [log] result, now in
            let granted = (try? result.get()).map { $0.tokens + $0.trickleTokens }
            log.add(
                GrantLog.Entry(
                    key: String(decoding: request.key, as: UTF8.self), lesseeID: request.lesseeID,
                    sequence: request.sequence, tokens: granted ?? 0, sentAt: request.sentAt, answeredAt: now,
                    isSuccess: granted != nil))
            reply(result, now)
        }
    }
}
