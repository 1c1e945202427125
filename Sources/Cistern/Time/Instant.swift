/// A point on the caller's clock.
///
/// Nothing in this module reads a clock: the caller passes the instant of every decision. The caller chooses the
/// origin. All instants given to one limiter must come from one clock that does not step back.
/// Unit: nanoseconds. Range: 0 to 2^63 − 1, which is 292 years.
public struct Instant: Hashable, Comparable, Sendable, BitwiseCopyable {
    /// Nanoseconds since the clock's origin.
    public var nanoseconds: Int64

    /// Creates the instant that lies `nanoseconds` after the clock's origin.
    public init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    /// Creates the instant that lies `milliseconds` after the clock's origin.
    public init(milliseconds: Int64) {
        nanoseconds = milliseconds &* 1_000_000
    }

    /// Later than any other instant.
    static let never = Instant(nanoseconds: .max)

    /// Whole milliseconds since the clock's origin, rounded down.
    public var milliseconds: Int64 {
        nanoseconds / 1_000_000
    }

    /// The instant `milliseconds` later, or earlier if the number is negative.
    public func advanced(byMilliseconds milliseconds: Int64) -> Instant {
        Instant(nanoseconds: nanoseconds &+ milliseconds &* 1_000_000)
    }

    /// The instant `duration` later, or earlier if it is negative; fractions of a nanosecond are dropped.
    public func advanced(by duration: Duration) -> Instant {
        Instant(nanoseconds: nanoseconds &+ duration.wholeNanoseconds)
    }

    /// Whether one instant is earlier than the other.
    public static func < (left: Instant, right: Instant) -> Bool {
        left.nanoseconds < right.nanoseconds
    }
}
