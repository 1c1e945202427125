/// Lower bounds of when values of a table may be forgotten, for each 64 positions: where none is due nobody looks.
///
/// Using a value only makes it forgettable later, so a bound that is out of date costs a look and misses nothing.
struct EvictionBounds {
    /// How long a name that was there before a flood is spared after its last use.
    static let sparedMilliseconds: Int64 = 60_000
    private static let segmentSize = 64

    /// For each segment: with all values forgettable alike, and with those spared that were there before.
    private var plain: [Int64] = []
    private var sparing: [Int64] = []
    /// Before these nothing is due anywhere.
    private var nothingBefore: (plain: Int64, sparing: Int64) = (.min, .min)
    private var hand = 0

    /// A value was added at a position.
    mutating func noteChange(at index: Int) {
        nothingBefore = (.min, .min)
        let segment = index / Self.segmentSize
        guard segment < plain.count else { return }
        (plain[segment], sparing[segment]) = (.min, .min)
    }

    /// The first position that `look` finds due, among those where one may be.
    ///
    /// - Parameter look: looks at some positions: the one to take, and the earliest time at which one is due.
    mutating func firstDue(
        _ isSparing: Bool, now: Int64, count: Int, _ look: (Range<Int>) -> (found: Int?, earliest: Int64)
    ) -> Int? {
        guard now >= (isSparing ? nothingBefore.sparing : nothingBefore.plain) else { return nil }
        let segments = (count + Self.segmentSize - 1) / Self.segmentSize
        while plain.count < segments {
            plain.append(.min)
            sparing.append(.min)
        }
        var earliestOfAll = Int64.max
        for step in 0..<segments {
            let segment = (hand + step) % segments
            var bound = isSparing ? sparing[segment] : plain[segment]
            if bound <= now {
                let start = segment * Self.segmentSize
                let (found, earliest) = look(start..<min(count, start + Self.segmentSize))
                if let found {
                    hand = segment
                    return found
                }
                bound = earliest
                if isSparing { sparing[segment] = bound } else { plain[segment] = bound }
            }
            earliestOfAll = min(earliestOfAll, bound)
        }
        if isSparing { nothingBefore.sparing = earliestOfAll } else { nothingBefore.plain = earliestOfAll }
        return nil
    }
}
