/// Requests paid from tokens held here: the two counters that nearly every decision increments, on one cache line.
struct PaidTally: Sendable, BitwiseCopyable {
    /// Tokens in the high half and requests in the low half, so that one addition increments both.
    private var packedCounts: UInt128 = 0

    var requests: UInt64 { UInt64(truncatingIfNeeded: packedCounts) }
    var tokens: UInt64 { UInt64(truncatingIfNeeded: packedCounts >> 64) }

    @inline(__always)
    mutating func count(_ cost: UInt32) {
        packedCounts &+= UInt128(cost) << 64 | 1
    }
}
