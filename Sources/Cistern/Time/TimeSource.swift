/// Where the shells around this module take `now` from.
///
/// The decision code takes instants as arguments. What stands between it and the network (a store that answers
/// later, an HTTP server) holds a time source, so that a test can put a clock of its own there.
public protocol TimeSource: Sendable {
    /// The present instant; never earlier than one returned before to the same thread.
    func now() -> Instant
}

/// The instants of any Swift clock, counted from the moment this value was made.
///
/// Use `ContinuousClock`: it goes on counting while the machine sleeps, as the store's clock does. A lease counted on
/// `SuspendingClock` would outlive the store's record of it after a suspend.
public struct Timeline<Source: Clock>: TimeSource where Source.Duration == Swift.Duration {
    private let clock: Source
    private let origin: Source.Instant

    /// Starts a timeline at the clock's present instant.
    public init(_ clock: Source) {
        self.clock = clock
        origin = clock.now
    }

    /// The time since this value was made.
    public func now() -> Instant {
        let (seconds, attoseconds) = origin.duration(to: clock.now).components
        return Instant(nanoseconds: seconds &* 1_000_000_000 &+ attoseconds / 1_000_000_000)
    }
}
