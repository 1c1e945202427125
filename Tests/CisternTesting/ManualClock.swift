package import Cistern
import Synchronization

/// A clock that stands still until a test moves it.
package final class ManualClock: TimeSource {
    private let nanoseconds: Mutex<Int64>

    /// Creates a clock at `milliseconds` after its origin.
    package init(milliseconds: Int64 = 0) {
        nanoseconds = Mutex(milliseconds * 1_000_000)
    }

    /// Moves the clock on.
    package func advance(milliseconds: Int64) {
        nanoseconds.withLock { $0 += milliseconds * 1_000_000 }
    }

    package func now() -> Instant {
        Instant(nanoseconds: nanoseconds.withLock { $0 })
    }
}
