/// The clock of a limiter: a known type unless a caller gives one, so that reading it is inlined.
///
/// Not copyable: avoids reference-count contention between threads.
enum LimiterClock: ~Copyable, Sendable {
    case ticks(TickClock)
    case given(any TimeSource)

    @inline(__always)
    func now() -> Instant {
        switch self {
        case .ticks(let clock): clock.now()
        case .given(let clock): clock.now()
        }
    }
}
