/// A histogram of durations with fixed classes from a tenth of a millisecond to ten seconds.
package struct LatencyHistogram: Sendable {
    /// The upper bounds of the classes, in nanoseconds; one more class takes all longer durations.
    package static let upperBoundsNanoseconds: [Int64] = [
        100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000, 100_000_000,
        250_000_000, 500_000_000, 1_000_000_000, 2_500_000_000, 5_000_000_000, 10_000_000_000,
    ]

    /// How many durations fell into each class.
    package private(set) var counts = InlineArray<17, UInt64>(repeating: 0)
    /// The sum of all durations.
    package private(set) var sumNanoseconds: Int64 = 0

    package init() {}

    /// Counts one duration.
    package mutating func record(nanoseconds: Int64) {
        var index = 0
        while index < Self.upperBoundsNanoseconds.count, nanoseconds > Self.upperBoundsNanoseconds[index] { index += 1 }
        counts[index] &+= 1
        sumNanoseconds &+= nanoseconds
    }

    package static func += (sum: inout LatencyHistogram, other: LatencyHistogram) {
        for index in sum.counts.indices { sum.counts[index] &+= other.counts[index] }
        sum.sumNanoseconds &+= other.sumNanoseconds
    }
}

extension LatencyHistogram {
    /// How many durations were counted.
    package var count: UInt64 {
        counts.indices.reduce(0) { $0 &+ counts[$1] }
    }

    /// The durations counted since an earlier state of the same histogram.
    package func since(_ earlier: LatencyHistogram) -> LatencyHistogram {
        var difference = self
        for index in counts.indices {
            difference.counts[index] = counts[index] &- min(counts[index], earlier.counts[index])
        }
        difference.sumNanoseconds = max(0, sumNanoseconds &- earlier.sumNanoseconds)
        return difference
    }

    /// The quantile `part`, 0 to 1, of all durations in milliseconds; nil if there are none.
    ///
    /// Interpolated within its class, as Prometheus does it. A quantile in the last class is reported as ten seconds.
    ///
    /// - Parameter zeros: the number of durations of 0 besides those counted.
    package func quantile(_ part: Double, zeros: UInt64 = 0) -> Double? {
        let total = count &+ zeros
        guard total > 0 else { return nil }
        var below = Double(zeros)
        let rank = part * Double(total)
        guard rank > below else { return 0 }
        for (index, bound) in Self.upperBoundsNanoseconds.enumerated() {
            let here = Double(counts[index])
            if rank <= below + here {
                let lower = index == 0 ? 0 : Self.upperBoundsNanoseconds[index - 1]
                return (Double(lower) + Double(bound - lower) * (rank - below) / here) / 1_000_000
            }
            below += here
        }
        return Double(Self.upperBoundsNanoseconds[Self.upperBoundsNanoseconds.count - 1]) / 1_000_000
    }
}
