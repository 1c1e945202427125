internal import Cistern
internal import Histogram

/// Durations in nanoseconds, three significant digits each.
typealias LatencyRecord = Histogram<UInt64>

extension LatencyRecord {
    /// The longest duration that is told from longer ones: ten minutes.
    static var longestNanoseconds: UInt64 { 600_000_000_000 }

    static func make() -> LatencyRecord {
        LatencyRecord(highestTrackableValue: longestNanoseconds, numberOfSignificantValueDigits: .three)
    }

    /// Counts a duration; one below 0, by a clock that was read on another core, counts as 0.
    @inline(__always)
    mutating func record(from start: Instant, to end: Instant) {
        record(Swift.min(UInt64(Swift.max(0, end.nanoseconds - start.nanoseconds)), Self.longestNanoseconds))
    }
}

/// What came of the requests of one load.
struct LoadTally: Sendable {
    /// How long decisions took that came in while it counted.
    var waits = LatencyRecord.make()
    /// Those of them that were made at once, by memory, one after the other.
    var immediate = LatencyRecord.make()
    var allowed = 0
    var denied = 0
    var unmetered = 0
    var refused = 0
    /// Answers that are none of these, and requests that were due and found no connection to the end.
    var failed = 0
    /// Every decided request of a metered organization since the load began, warm-up included.
    var metered: [MeteredRequest] = []

    /// The decisions that came in while it counted.
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
    /// When it was meant to be sent.
    let arrivedAt: Int64
    /// The earliest moment at which it can have been decided.
    let earliest: Int64
    /// The latest one; the same where the decision says when it was made.
    let latest: Int64
}
