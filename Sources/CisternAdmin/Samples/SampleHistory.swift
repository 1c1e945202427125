internal import Cistern

/// The samples of the last five minutes, one for each snapshot.
struct SampleHistory: Sendable {
    /// How many samples are kept.
    static let maximumCount = 300

    private(set) var samples: [Sample] = []
    /// The last snapshot, and when it was taken.
    private(set) var last: (snapshot: ServerSnapshot, at: Instant)

    init(_ snapshot: ServerSnapshot, at now: Instant, unixMilliseconds: Int64) {
        last = (snapshot, now)
        samples = [Sample(from: snapshot, to: snapshot, seconds: 1, at: unixMilliseconds)]
    }

    /// Adds the sample between the last snapshot and this one.
    mutating func add(_ snapshot: ServerSnapshot, at now: Instant, unixMilliseconds: Int64) {
        let seconds = Double(now.nanoseconds - last.at.nanoseconds) / 1_000_000_000
        guard seconds > 0 else { return }
        if samples.count == Self.maximumCount { samples.removeFirst() }
        samples.append(Sample(from: last.snapshot, to: snapshot, seconds: seconds, at: unixMilliseconds))
        last = (snapshot, now)
    }

    /// The latest sample.
    var latest: Sample { samples[samples.count - 1] }
}
