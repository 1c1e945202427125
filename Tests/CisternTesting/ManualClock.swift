public import Cistern
import Synchronization

/// A clock that stands still until a test moves it.
public final class ManualClock: TimeSource {
    private let nanoseconds: Mutex<Int64>

    /// Creates a clock at `milliseconds` after its origin.
    public init(milliseconds: Int64 = 0) {
        nanoseconds = Mutex(milliseconds * 1_000_000)
    }

    /// Moves the clock on.
    public func advance(milliseconds: Int64) {
        nanoseconds.withLock { $0 += milliseconds * 1_000_000 }
    }

    public func now() -> Instant {
        Instant(nanoseconds: nanoseconds.withLock { $0 })
    }
}
