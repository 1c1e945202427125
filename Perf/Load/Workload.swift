internal import CisternSupport
internal import CisternTesting
internal import Foundation

/// Who asks: organizations, and how often each of them does.
///
/// A part of the organizations may be *metered*: theirs is the limit that is meant to be hit, and only of them every
/// admission is noted. They come first.
struct Workload: Sendable {
    /// The names, 36 bytes each, as UUIDs have.
    let names: [[UInt8]]
    /// How many of them, from the first on, are metered.
    private(set) var metered: Int
    /// Whose turn it is, as positions in ``names``: drawn in advance, so that drawing costs nothing while it counts.
    let turns: [UInt32]

    /// Draws a workload.
    ///
    /// - Parameters:
    ///   - organizations: how many organizations there are without the metered ones.
    ///   - skew: the exponent of Zipf's law; the n-th organization comes n^−skew times as often as the first. 0 for all
    ///     alike.
    ///   - metered: how many more organizations there are whose limit is meant to be hit.
    ///   - meteredShare: their part of all requests, 0 to 1.
    ///   - turns: how many turns to draw; they come round again after that.
    ///   - seed: the same seed draws the same turns.
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

    /// How many turns to draw so that all but every organization comes.
    static func turns(for organizations: Int) -> Int { max(1 << 18, organizations * 8) }

    /// The same with all of its organizations metered.
    func withAllMetered() -> Workload {
        var workload = self
        workload.metered = names.count
        return workload
    }

    /// The name of the organization with a number.
    static func name(_ number: Int) -> [UInt8] {
        let digits = String(number, radix: 16)
        return Array("00000000-0000-4000-8000-".utf8) + Array(String(repeating: "0", count: 12 - digits.count).utf8)
            + Array(digits.utf8)
    }
}

/// Draws numbers from 0 up with Zipf's law.
struct ZipfSampler: Sendable {
    /// The sums of all weights up to each number, the last one 1; empty where all are alike.
    private let cumulative: [Double]
    private let count: Int

    init(count: Int, skew: Double) {
        precondition(count > 0, "somebody must ask")
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
