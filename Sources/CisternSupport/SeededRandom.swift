/// A pseudorandom number generator with the same sequence for the same seed on every run and machine.
///
/// The algorithm is SplitMix64, after Steele, Lea and Flood, 2014.
package struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) {
        state = seed
    }

    /// Creates an independent generator for one purpose, so that draws for one purpose do not affect another.
    package init(seed: UInt64, purpose: UInt64) {
        state = seed
        state = next() ^ purpose &* 0xd129_0d3b_3f6a_5c85
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }

    /// Returns a number from 0 up to, but not including, 1.
    package mutating func fraction() -> Double {
        Double(next() >> 11) * 0x1p-53
    }

    /// Returns a random whole number in the range.
    package mutating func number(_ range: ClosedRange<Int64>) -> Int64 {
        let span = UInt64(range.upperBound - range.lowerBound) + 1
        return range.lowerBound + Int64(next().multipliedFullWidth(by: span).high)
    }

    /// Returns a random whole number in the range.
    package mutating func number(_ range: ClosedRange<Int>) -> Int {
        Int(number(Int64(range.lowerBound)...Int64(range.upperBound)))
    }

    package mutating func chance(_ probability: Double) -> Bool {
        fraction() < probability
    }

    package mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[number(0...elements.count - 1)]
    }

    /// Returns a random index, with a probability proportional to its weight.
    package mutating func index(weights: [Double]) -> Int {
        var left = fraction() * weights.reduce(0, +)
        for (index, weight) in weights.enumerated() {
            left -= weight
            if left < 0 { return index }
        }
        return weights.count - 1
    }
}
