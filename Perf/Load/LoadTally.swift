internal import Cistern
internal import Histogram

/// A histogram of durations in nanoseconds, with three significant digits.
typealias LatencyRecord = Histogram<UInt64>

extension LatencyRecord {
    /// The longest duration that the histogram records: ten minutes; a longer one is recorded as this.
    static var longestNanoseconds: UInt64 { 600_000_000_000 }

    static func make() -> LatencyRecord {
        LatencyRecord(highestTrackableValue: longestNanoseconds, numberOfSignificantValueDigits: .three)
    }

    /// Records a duration.
    ///
    /// A negative one, from a clock read on another core, counts as 0.
    @inline(__always)
    mutating func record(from start: Instant, to end: Instant) {
        record(Swift.min(UInt64(Swift.max(0, end.nanoseconds - start.nanoseconds)), Self.longestNanoseconds))
    }
}

/// The results of the requests of one load.
struct LoadTally: Sendable {
    /// Latencies of counted decisions that were not immediate.
    var waits = LatencyRecord.make()
    /// Latencies of counted decisions made at once on the fast path, one after the other.
    var immediate = LatencyRecord.make()
    var allowed = 0
    var denied = 0
    var unmetered = 0
    var refused = 0
    /// Other answers, and scheduled requests that never found a free connection.
    var failed = 0
    /// Every decided request of a metered organization since the load began, warm-up included.
    var metered: [MeteredRequest] = []

    /// The number of counted decisions.
    var decisions: Int { allowed + denied + unmetered + refused + failed }

    mutating func count(_ outcome: Decision.Outcome) {
        switch outcome {
        case .allowed: allowed += 1
        case .denied: denied += 1
        case .unmetered: unmetered += 1
        case .refused: refused += 1
        }
    }

    static func += (sum: inout LoadTally, other: LoadTally) {
        sum.waits.add(other.waits)
        sum.immediate.add(other.immediate)
        sum.allowed += other.allowed
        sum.denied += other.denied
        sum.unmetered += other.unmetered
        sum.refused += other.refused
        sum.failed += other.failed
        sum.metered += other.metered
    }
}

/// A decided request of a metered organization, in nanoseconds on the load's clock.
struct MeteredRequest: Sendable, BitwiseCopyable {
    let organization: UInt32
    let isAllowed: Bool
    /// When it was scheduled to be sent.
    let arrivedAt: Int64
    /// The earliest time at which it may have been decided.
    let earliest: Int64
    /// The latest time at which it may have been decided; equal to the earliest if the decision carries its time.
    let latest: Int64
}
