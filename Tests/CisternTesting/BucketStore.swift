package import Cistern
package import CisternTestSupport
import Synchronization

/// A store with one bucket that follows the Lua script, and with a clock of its own.
///
/// Each call advances the caller's clock by the latency.
package final class BucketStore: LeaseStore {
    private let bucket: Mutex<StoreBucket>
    private let clock: ManualClock
    private let latencyMilliseconds: Int64
    private let perMille: Int64

    /// Creates a store whose bucket is full.
    ///
    /// - Parameters:
    ///   - latencyMilliseconds: the round-trip time; the store executes the request halfway.
    ///   - driftPerMille: how much faster the store's clock runs than the caller's, in thousandths.
    package init(_ limit: Limit, clock: ManualClock, latencyMilliseconds: Int64 = 0, driftPerMille: Int64 = 0) {
        self.clock = clock
        self.latencyMilliseconds = latencyMilliseconds
        perMille = driftPerMille
        bucket = Mutex(StoreBucket(full: limit, nowMilliseconds: 0))
    }

    package func lease(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        let sentAt = clock.now()
        let nanoseconds = sentAt.nanoseconds + latencyMilliseconds * 500_000
        let now = nanoseconds / 1000 * (1000 + perMille) / 1_000_000
        clock.advance(milliseconds: latencyMilliseconds)
        guard let grant = bucket.withLock({ $0.apply(request, nowMilliseconds: now) }) else {
            return reply(.failure(.rejected("STALE")), sentAt)
        }
        reply(.success(grant), sentAt.advanced(byMilliseconds: latencyMilliseconds))
    }
}
