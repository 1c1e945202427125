internal import Cistern

/// A moment of the world: nanoseconds since it began, on a clock that nobody in it can read.
package typealias Time = Int64

extension Time {
    static func milliseconds(_ count: Int64) -> Time { count * 1_000_000 }

    /// What a store's clock shows at this moment, in milliseconds.
    ///
    /// A store whose clock has stepped shows that of another moment, see ``Node/clock(at:)``.
    package var storeMilliseconds: Int64 { 1_700_000_000_000 + self / 1_000_000 }

    /// The moment in seconds, for people.
    package var seconds: Double { Double(self) / 1e9 }
}

/// The clock of one server: it runs faster or slower than the world's, and was started at some time of its own.
struct DriftingClock {
    private var readAt: Time
    private var reading: Int64
    private var partsPerMillion: Int64

    init(startingAt now: Time, reading: Int64, partsPerMillion: Int64) {
        readAt = now
        self.reading = reading
        self.partsPerMillion = partsPerMillion
    }

    /// What the clock shows.
    func reading(at now: Time) -> Instant {
        Instant(
            nanoseconds: reading + (now - readAt) / 1_000_000 * (1_000_000 + partsPerMillion)
                + (now - readAt) % 1_000_000 * (1_000_000 + partsPerMillion) / 1_000_000)
    }

    /// When it will show that.
    func time(of instant: Instant) -> Time {
        readAt + Time(Double(instant.nanoseconds - reading) * 1e6 / Double(1_000_000 + partsPerMillion)) + 1
    }

    /// Makes it run at another rate from now on.
    mutating func setDrift(partsPerMillion: Int64, now: Time) {
        reading = self.reading(at: now).nanoseconds
        readAt = now
        self.partsPerMillion = partsPerMillion
    }
}
