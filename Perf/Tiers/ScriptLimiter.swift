internal import Cistern
internal import CisternRedis
internal import NIOCore
internal import Synchronization

/// A limiter without memory: one call of the atomic script for each request.
///
/// It shows the performance of Redis alone, and is the baseline for leases. Calls are pipelined. Each leases only the
/// tokens of its request, which are spent immediately. Nothing is prefetched, and no denial is cached.
final class ScriptLimiter: BaselineLimiter {
    private let store: RedisStore
    private let limits: Limits
    /// The settings of a server, except for the timeout: under full load, requests should not time out.
    private let settings = LeaseSettings()
    private static let timeoutMilliseconds: Int64 = 1000
    private let clock: any TimeSource
    private let lanes: [Lane]
    private let unmeteredCount = Atomic(0)

    /// One lessee per event loop, because only requests of the same loop are sure to reach Redis in order.
    private final class Lane: Sendable {
        let loop: any EventLoop
        let lesseeID: String
        let sequence = Atomic<UInt64>(0)

        init(loop: any EventLoop, lesseeID: String) {
            self.loop = loop
            self.lesseeID = lesseeID
        }
    }

    /// - Parameter loops: the event loops that call the limiter.
    init(store: RedisStore, limits: Limits, loops: [any EventLoop], clock: any TimeSource) {
        lanes = loops.enumerated().map { Lane(loop: $0.element, lesseeID: "\(store.serverName)-\($0.offset)") }
        self.store = store
        self.limits = limits
        self.clock = clock
    }

    var unmetered: Int { unmeteredCount.load(ordering: .relaxed) }

    func decide(
        _ organization: Span<UInt8>, cost: Int, now: Instant, resume: @escaping @Sendable (Decision) -> Void
    ) -> Decision? {
        guard let lane = lanes.first(where: { $0.loop.inEventLoop }) else {
            preconditionFailure("decide must be called on one of the limiter's event loops")
        }
        let name = organization.withUnsafeBufferPointer { Array($0) }
        let limit = limits.limit(of: name)
        let number = lane.sequence.add(1, ordering: .relaxed).newValue
        // Redis answers a connection's requests in order, so all earlier grants count as acknowledged and spent.
        let request = LeaseRequest(
            key: name, partition: store.partition(of: organization),
            limit: limit, lesseeID: lane.lesseeID, sequence: number, acknowledged: number - 1, held: 0,
            millisecondsSinceLastSpend: 0, halfSpentTokens: 0, halfSpentMilliseconds: 0, returned: 0,
            waiting: [WaitingRun(cost: cost, count: 1)], requested: .none,
            durationMilliseconds: settings.durationMilliseconds, sentAt: now,
            deadline: now.advanced(byMilliseconds: Self.timeoutMilliseconds))
        store.lease(request) { result, now in
            switch result {
            case .success(let grant) where grant.tokens >= cost:
                resume(.allowed(limit, balanceUnits: max(0, grant.openUnits), at: now))
            case .success(let grant):
                let missing = limit.units(of: cost) - grant.openUnits
                resume(
                    .denied(
                        limit, balanceUnits: max(0, grant.openUnits),
                        retryAfterMilliseconds: missing / max(1, limit.refillUnitsPerMillisecond), at: now))
            case .failure:
                self.unmeteredCount.add(1, ordering: .relaxed)
                resume(.unmetered(limit, at: now))
            }
        }
        return nil
    }
}
