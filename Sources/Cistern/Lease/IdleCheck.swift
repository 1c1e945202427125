/// A scheduled idle check of one table entry: its index and the due time, in eight bytes.
///
/// The value is small because there is one for each lease with tokens.
struct IdleCheck: BitwiseCopyable {
    /// The longest delay of a check, in milliseconds: the maximum of ``LeaseSettings/idle``.
    static let longestMilliseconds: Int64 = 60_000
    /// Enough for any entry index, see `BucketTable.largestCapacity`.
    private static let indexBits: UInt64 = 23
    /// A due time that appears to be further ahead than this has already passed: its 41 bits wrap every 36 minutes.
    private static let furthestNanoseconds = UInt64(2 * longestMilliseconds) * 1_000_000

    /// The entry index in the low 23 bits; above it, the low 41 bits of the due time in nanoseconds.
    private let bits: UInt64

    init(_ index: Int, due: Instant) {
        precondition(0..<(1 << Self.indexBits) ~= UInt64(index), "a table holds fewer than 2^23 keys")
        bits = UInt64(bitPattern: due.nanoseconds) << Self.indexBits | UInt64(index)
    }

    var index: Int { Int(bits & (1 << Self.indexBits - 1)) }

    /// Whether the check is due at `now`.
    ///
    /// A check that is more than half an hour overdue may be reported as due up to two minutes late.
    func isDue(at now: Instant) -> Bool {
        let ahead = bits >> Self.indexBits &- UInt64(bitPattern: now.nanoseconds)
        let left = ahead & (UInt64.max >> Self.indexBits)
        return left == 0 || left > Self.furthestNanoseconds
    }
}
