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
        Instant(nanoseconds: Self.nanoseconds(origin.duration(to: clock.now)))
    }

    /// Whole nanoseconds, rounded toward zero.
    ///
    /// A duration is a number of attoseconds in 128 bits, and dividing that takes a loop in software. What the system's
    /// clocks give is whole nanoseconds, n · 10^9 = n · 5^9 · 2^9, and such a number is divided by shifting it and multiplying
    /// with the inverse of 5^9 modulo 2^64. Whether it was one, a multiplication tells.
    @inline(__always)
    static func nanoseconds(_ duration: Swift.Duration) -> Int64 {
        let attoseconds = duration.attoseconds
        let nanoseconds = Int64(truncatingIfNeeded: attoseconds >> 9) &* Int64(bitPattern: 0x8e47_ce42_3a2e_9c6d)
        let product = nanoseconds.multipliedFullWidth(by: 1_000_000_000)
        guard Int128(product.high) << 64 | Int128(product.low) == attoseconds else {
            let (seconds, rest) = duration.components
            return seconds &* 1_000_000_000 &+ rest / 1_000_000_000
        }
        return nanoseconds
    }
}
