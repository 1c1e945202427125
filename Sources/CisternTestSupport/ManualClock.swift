public import Cistern
internal import Synchronization

/// A clock that advances only when a test advances it.
///
/// ```swift
/// let clock = ManualClock()
/// let limiter = try RateLimiter(limit: .perSecond(1), clock: clock)
/// clock.advance(by: .seconds(1))
/// ```
public final class ManualClock: TimeSource {
    private struct Event {
        let due: Instant
        let number: Int
        let action: @Sendable () -> Void
    }

    private struct State {
        var now: Instant
        var events: [Event] = []
        var eventCount = 0
    }

    private let state: Mutex<State>

    /// Creates a clock at its origin.
    public init() {
        state = Mutex(State(now: Instant(nanoseconds: 0)))
    }

    /// Creates a clock at `milliseconds` after its origin.
    package init(milliseconds: Int64) {
        state = Mutex(State(now: Instant(milliseconds: milliseconds)))
    }

    /// The current instant.
    public func now() -> Instant {
        state.withLock { $0.now }
    }

    /// Advances the clock, and delivers the replies of an ``InMemoryStore`` that are due by then, each at its instant.
    ///
    /// - Parameter duration: how far; a negative duration does not move the clock.
    public func advance(by duration: Duration) {
        advance(nanoseconds: duration.wholeNanoseconds)
    }

    /// Advances the clock.
    package func advance(milliseconds: Int64) {
        advance(nanoseconds: milliseconds &* 1_000_000)
    }

    private func advance(nanoseconds: Int64) {
        let start = now().nanoseconds
        let (sum, overflows) = start.addingReportingOverflow(max(0, nanoseconds))
        let end = Instant(nanoseconds: overflows ? .max : sum)
        while let event = nextEvent(upTo: end) { event.action() }
        state.withLock { $0.now = max($0.now, end) }
    }

    /// Removes the earliest event up to an instant, and moves the clock to it.
    private func nextEvent(upTo end: Instant) -> Event? {
        state.withLock { state in
            let next = state.events.indices.min {
                (state.events[$0].due, state.events[$0].number) < (state.events[$1].due, state.events[$1].number)
            }
            guard let next, state.events[next].due <= end else { return nil }
            let event = state.events.remove(at: next)
            state.now = max(state.now, event.due)
            return event
        }
    }

    /// Calls `action` when the clock reaches an instant.
    func schedule(at due: Instant, _ action: @escaping @Sendable () -> Void) {
        state.withLock { state in
            state.eventCount += 1
            state.events.append(Event(due: due, number: state.eventCount, action: action))
        }
    }
}
