/// Lower bounds on when the values of a table may be forgotten: one per segment of 64 entries.
///
/// Scans skip segments that are not due. Using a value only makes it forgettable later, so an outdated bound costs one
/// wasted scan and never misses a value.
struct EvictionBounds {
    /// How long an older key is spared after its last use, in milliseconds, while there are many probationary keys.
    static let sparedMilliseconds: Int64 = 60_000
    private static let segmentSize = 64

    /// Bounds per segment: `boundsForAll` treats all keys alike, `boundsSparingOld` spares keys not on probation.
    private var boundsForAll: [Int64] = []
    private var boundsSparingOld: [Int64] = []
    /// Bounds over all segments: before these times no value is due.
    private var earliestDue: (boundsForAll: Int64, boundsSparingOld: Int64) = (.min, .min)
    private var hand = 0

    /// Resets the bounds for a value that was added at an index.
    mutating func noteChange(at index: Int) {
        earliestDue = (.min, .min)
        let segment = index / Self.segmentSize
        guard segment < boundsForAll.count else { return }
        (boundsForAll[segment], boundsSparingOld[segment]) = (.min, .min)
    }

    /// The first entry index that `look` finds due; scans only segments whose bound is due.
    ///
    /// - Parameter look: scans entries; returns the one to take, if any, and the earliest time at which one is due.
    mutating func firstDue(
        _ sparesOldKeys: Bool, now: Int64, count: Int, _ look: (Range<Int>) -> (found: Int?, earliest: Int64)
    ) -> Int? {
        guard now >= (sparesOldKeys ? earliestDue.boundsSparingOld : earliestDue.boundsForAll) else { return nil }
        let segments = (count + Self.segmentSize - 1) / Self.segmentSize
        while boundsForAll.count < segments {
            boundsForAll.append(.min)
            boundsSparingOld.append(.min)
        }
        var earliestOfAll = Int64.max
        for step in 0..<segments {
            let segment = (hand + step) % segments
            var bound = sparesOldKeys ? boundsSparingOld[segment] : boundsForAll[segment]
            if bound <= now {
                let start = segment * Self.segmentSize
                let (found, earliest) = look(start..<min(count, start + Self.segmentSize))
                if let found {
                    hand = segment
                    return found
                }
                bound = earliest
                if sparesOldKeys { boundsSparingOld[segment] = bound } else { boundsForAll[segment] = bound }
            }
            earliestOfAll = min(earliestOfAll, bound)
        }
        if sparesOldKeys {
            earliestDue.boundsSparingOld = earliestOfAll
        } else {
            earliestDue.boundsForAll = earliestOfAll
        }
        return nil
    }
}
