internal import CisternSupport
internal import Foundation

/// The organizations of a load, and how often each sends requests.
///
/// Some organizations may be *metered*: they are meant to exceed their limit, and only their requests are recorded one
/// by one. They come first.
struct Workload: Sendable {
    /// The names, 36 bytes each, as long as UUIDs.
    let names: [[UInt8]]
    /// The number of metered organizations, which come first in ``names``.
    private(set) var metered: Int
    /// The organization of each request, as an index into ``names``; drawn in advance, so that drawing is not measured.
    let turns: [UInt32]

    /// Draws a workload.
    ///
    /// - Parameters:
    ///   - organizations: how many organizations there are without the metered ones.
    ///   - skew: the Zipf exponent. The n-th organization occurs n^−skew times as often as the first; 0 for all alike.
    ///   - metered: the number of additional organizations that are meant to exceed their limit.
    ///   - meteredShare: the fraction of all requests that are for metered organizations, 0 to 1.
    ///   - turns: the number of requests to draw; the sequence repeats after that.
    ///   - seed: the seed; the same seed gives the same sequence.
    init(
        organizations: Int, skew: Double, metered: Int = 0, meteredShare: Double = 0, turns: Int = 1 << 18,
        seed: UInt64 = 1
    ) {
        names = (0..<metered + organizations).map { Self.name($0) }
        self.metered = metered
        var random = SeededRandom(seed: seed)
        let zipf = ZipfSampler(count: organizations, skew: skew)
        self.turns = (0..<turns).map { _ in
            if metered > 0, Double.random(in: 0..<1, using: &random) < meteredShare {
                UInt32(Int.random(in: 0..<metered, using: &random))
            } else {
                UInt32(metered + zipf.draw(using: &random))
            }
        }
    }

    /// The number of requests to draw so that almost every organization occurs.
    static func turns(for organizations: Int) -> Int { max(1 << 18, organizations * 8) }

    /// The same workload with all of its organizations metered.
    func withAllMetered() -> Workload {
        var workload = self
        workload.metered = names.count
        return workload
    }

    /// The name of the organization with this number.
    static func name(_ number: Int) -> [UInt8] {
        let digits = String(number, radix: 16)
        return Array("00000000-0000-4000-8000-".utf8) + Array(String(repeating: "0", count: 12 - digits.count).utf8)
            + Array(digits.utf8)
    }
}

/// Draws integers from 0 up with a Zipf distribution.
struct ZipfSampler: Sendable {
    /// The cumulative distribution, up to 1; empty if all numbers are equally likely.
    private let cumulative: [Double]
    private let count: Int

    init(count: Int, skew: Double) {
        precondition(count > 0, "a Zipf distribution needs at least one number")
        self.count = count
        guard skew > 0 else {
            cumulative = []
            return
        }
        var sum = 0.0
        let sums = (1...count).map { rank in
            sum += pow(Double(rank), -skew)
            return sum
        }
        cumulative = sums.map { $0 / sum }
    }

    func draw(using random: inout SeededRandom) -> Int {
        guard !cumulative.isEmpty else { return Int.random(in: 0..<count, using: &random) }
        let point = Double.random(in: 0..<1, using: &random)
        var (low, high) = (0, count - 1)
        while low < high {
            let middle = (low + high) / 2
            if cumulative[middle] > point { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
