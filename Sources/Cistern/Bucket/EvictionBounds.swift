/// Lower bounds on when the values of a table may be forgotten: one per segment of 64 entries.
///
/// Scans skip segments that are not due. Using a value only makes it forgettable later, so an outdated bound costs one
/// wasted scan and never misses a value.
struct EvictionBounds {
    /// How long a key that is not a guest is spared after its last use, in milliseconds, while there are many guests.
    static let sparedMilliseconds: Int64 = 60_000
    private static let segmentSize = 64

    /// Bounds per segment: `plain` treats all keys alike, `sparing` spares keys that are not guests.
    private var plain: [Int64] = []
    private var sparing: [Int64] = []
    /// Bounds over all segments: before these times no value is due.
    private var nothingBefore: (plain: Int64, sparing: Int64) = (.min, .min)
    private var hand = 0

    /// Resets the bounds for a value that was added at an index.
    mutating func noteChange(at index: Int) {
        nothingBefore = (.min, .min)
        let segment = index / Self.segmentSize
        guard segment < plain.count else { return }
        (plain[segment], sparing[segment]) = (.min, .min)
    }

    /// The first entry index that `look` finds due; scans only segments whose bound is due.
    ///
    /// - Parameter look: scans entries; returns the one to take, if any, and the earliest time at which one is due.
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
