package import Cistern
import Synchronization

/// A clock that advances only when a test advances it.
package final class ManualClock: TimeSource {
    private let nanoseconds: Mutex<Int64>

    /// Creates a clock at `milliseconds` after its origin.
    package init(milliseconds: Int64 = 0) {
        nanoseconds = Mutex(milliseconds * 1_000_000)
    }

    /// Advances the clock.
    package func advance(milliseconds: Int64) {
        nanoseconds.withLock { $0 += milliseconds * 1_000_000 }
    }

    package func now() -> Instant {
        Instant(nanoseconds: nanoseconds.withLock { $0 })
    }
}
