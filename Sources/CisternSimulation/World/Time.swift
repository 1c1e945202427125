internal import Cistern

/// A time in a world: nanoseconds since its start, on a global clock that servers and nodes cannot read.
package typealias Time = Int64

extension Time {
    static func milliseconds(_ count: Int64) -> Time { count * 1_000_000 }

    /// The reading of a store's clock at this time, in milliseconds.
    ///
    /// For a clock that has stepped, first convert the time with ``Node/clock(at:)``.
    package var storeMilliseconds: Int64 { 1_700_000_000_000 + self / 1_000_000 }

    /// The time in seconds, for display.
    package var seconds: Double { Double(self) / 1e9 }
}

/// The clock of one server, with its own start value and a rate that differs from the world's.
struct DriftingClock {
    private var readAt: Time
    private var reading: Int64
    private var partsPerMillion: Int64

    init(startingAt now: Time, reading: Int64, partsPerMillion: Int64) {
        readAt = now
        self.reading = reading
        self.partsPerMillion = partsPerMillion
    }

    /// The reading of the clock.
    func reading(at now: Time) -> Instant {
        Instant(
            nanoseconds: reading + (now - readAt) / 1_000_000 * (1_000_000 + partsPerMillion)
                + (now - readAt) % 1_000_000 * (1_000_000 + partsPerMillion) / 1_000_000)
    }

    /// The time at which the clock will show `instant`.
    func time(of instant: Instant) -> Time {
        readAt + Time(Double(instant.nanoseconds - reading) * 1e6 / Double(1_000_000 + partsPerMillion)) + 1
    }

    /// Changes the clock's rate from now on.
    mutating func setDrift(partsPerMillion: Int64, now: Time) {
        reading = self.reading(at: now).nanoseconds
        readAt = now
        self.partsPerMillion = partsPerMillion
    }
}
