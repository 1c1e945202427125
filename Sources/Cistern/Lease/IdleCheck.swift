/// A place in a table that is to be looked at, and when: eight bytes, as there is one for each lease with tokens.
struct IdleCheck: BitwiseCopyable {
    /// The longest time that may be waited for, in milliseconds: what ``LeaseSettings/idleMilliseconds`` may be at most.
    static let longestMilliseconds: Int64 = 60_000
    /// More than a table holds, see `BucketTable.largestCapacity`.
    private static let indexBits: UInt64 = 23
    /// What lies further ahead than this is long past: the time is kept in 41 bits, which come round after 36 minutes.
    private static let furthestNanoseconds = UInt64(2 * longestMilliseconds) * 1_000_000

    /// The position in the low bits, above it the lowest bits of the instant in nanoseconds.
    private let bits: UInt64

    init(_ index: Int, due: Instant) {
        precondition(0..<(1 << Self.indexBits) ~= UInt64(index), "a table holds fewer than 2^23 names")
        bits = UInt64(bitPattern: due.nanoseconds) << Self.indexBits | UInt64(index)
    }

    var index: Int { Int(bits & (1 << Self.indexBits - 1)) }

    /// Whether its time has come.
    ///
    /// One that nobody looked at for over half an hour may be told from one to come only two minutes later.
    func isDue(at now: Instant) -> Bool {
        let prefetchTokens = bits >> Self.indexBits &- UInt64(bitPattern: now.nanoseconds)
        let left = prefetchTokens & (UInt64.max >> Self.indexBits)
        return left == 0 || left > Self.furthestNanoseconds
    }
}
