/// The source of `now` for the code around the engine.
///
/// The engine takes instants as arguments. The code between it and the network (a store client, an HTTP server) holds a
/// time source. So a test can replace the clock.
public protocol TimeSource: Sendable {
    /// The current instant, never earlier than one that the same thread got before.
    func now() -> Instant
}

/// The instants of any Swift clock, counted from the creation of this value.
///
/// Use `ContinuousClock`, which keeps counting while the machine sleeps, as the store's clock does. With
/// `SuspendingClock`, a lease would outlive the store's record of it after a suspend.
public struct ClockTimeSource<Source: Clock>: TimeSource where Source.Duration == Swift.Duration {
    private let clock: Source
    private let origin: Source.Instant

    /// Starts a timeline at the clock's current instant.
    public init(_ clock: Source) {
        self.clock = clock
        origin = clock.now
    }

    /// The time since the creation of this value.
    public func now() -> Instant {
        Instant(nanoseconds: Self.nanoseconds(origin.duration(to: clock.now)))
    }

    /// Whole nanoseconds, rounded toward zero.
    ///
    /// Dividing 128-bit attoseconds takes a software loop. System clocks give whole nanoseconds: n · 10^9 = n · 5^9 ·
    /// 2^9. A shift and a multiplication by the inverse of 5^9 modulo 2^64 yield n; one more multiplication checks it.
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
