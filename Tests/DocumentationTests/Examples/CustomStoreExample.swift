// The example of the article TestYourService for a store of your own. It runs as a test.
import Cistern
import CisternTestSupport
import Synchronization
import Testing

/// The buckets of all limiters, with the clock that their times come from.
final class BucketServer: Sendable {
    private let clock: any TimeSource
    private let buckets = Mutex<[[UInt8]: StoreBucket]>([:])

    init(clock: any TimeSource) {
        self.clock = clock
    }

    /// Applies a request; nil if a later request of the same lessee came first.
    func apply(_ request: LeaseRequest, namespace: String) -> Grant? {
        let name = Array("\(namespace):".utf8) + request.key
        let now = clock.now().milliseconds
        return buckets.withLock { buckets in
            var bucket = buckets[name] ?? StoreBucket(full: request.limit, nowMilliseconds: now)
            let grant = bucket.apply(request, nowMilliseconds: now)
            buckets[name] = bucket
            return grant
        }
    }
}

/// One limiter's connection to the buckets.
struct BucketConnection: LeaseStore {
    let server: BucketServer
    let environment: StoreEnvironment

    func lease(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        let grant = server.apply(request, namespace: environment.namespace)
        reply(grant.map { .success($0) } ?? .failure(.rejected("stale")), environment.clock.now())
    }
}

extension SharedStore {
    /// A store on a bucket server.
    static func buckets(on server: BucketServer) -> SharedStore {
        SharedStore { environment in BucketConnection(server: server, environment: environment) }
    }
}

@Test("limiters share the buckets of a store of your own")
func limitersShareACustomStore() async throws {
    let clock = ManualClock()
    let server = BucketServer(clock: clock)
    let limit = try Limit.perSecond(1, capacity: 2)
    let first = try RateLimiter(limit: limit, store: .buckets(on: server), clock: clock)
    let second = try RateLimiter(limit: limit, store: .buckets(on: server), clock: clock)
    try await first.withRunning {
        try await second.withRunning {
            let one = try await first.acquire("acme")
            let other = try await second.acquire("acme")
            let more = try await first.acquire("acme")
            #expect([one, other, more].map(\.isAllowed) == [true, true, false])
        }
    }
}
