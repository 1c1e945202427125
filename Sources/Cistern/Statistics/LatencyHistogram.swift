/// Durations counted in fixed classes, from a tenth of a millisecond to ten seconds.
package struct LatencyHistogram: Sendable {
    /// The upper bounds of the classes in nanoseconds; a last class takes whatever is longer.
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
